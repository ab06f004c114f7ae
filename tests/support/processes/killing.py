"""A run that is disturbed: its actors, and the command itself, are killed while it goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.paths import ROOT
from tests.support.processes.running import Finished, environment

KINDS = ("Generator", "Editor", "Learner")


@dataclass
class Disturbed:
    """One `medray launch` and what was done to it. `rng` decides what is killed and when."""

    output: Path
    arguments: tuple[str, ...]
    rng: random.Random
    kills: list[str] = field(default_factory=list)
    out: str = ""
    process: subprocess.Popen | None = None

    @property
    def run(self) -> Path:
        return self.output / "run"

    def launch(self, *, resume: bool = False) -> None:
        command = [
            sys.executable,
            "-m",
            "medray.cli",
            "launch",
            *self.arguments,
            f"run.output={self.output}",
            "run.name=run",
            *(["--resume"] if resume else []),
        ]
        self.log = self.output / f"log-{len(list(self.output.glob('log-*')))}"
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def lines(self) -> int:
        """Rows published by now; a return to a checkpoint takes some back."""
        with contextlib.suppress(FileNotFoundError):
            return len((self.run / "metrics.jsonl").read_text().splitlines())
        return 0

    def wait_for_progress(self, seconds: float = 240.0) -> bool:
        """Until another row is published; False where the run has ended."""
        before, deadline = self._stamp(), time.monotonic() + seconds
        while self._stamp() == before or not self.lines():
            if self.ended:
                return False
            assert time.monotonic() < deadline, f"no step within {seconds} s:\n{self.text()}"
            time.sleep(0.05)
        return True

    def wait_for_cause(self, kind: str, seconds: float = 120.0) -> None:
        """Until the command has reported that an actor of the kind is gone. A row published just
        after a kill may be of work that was done before it."""
        deadline = time.monotonic() + seconds
        while f"{kind}(" not in self.text():
            assert not self.ended, self.text()
            assert time.monotonic() < deadline, f"nothing reported in {seconds} s:\n{self.text()}"
            time.sleep(0.05)

    def actors(self, kind: str) -> list[psutil.Process]:
        """Processes of this run's own cluster, and of nobody else's."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith(f"ray::{kind}"):
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def kill_one(self, kind: str) -> bool:
        with contextlib.suppress(psutil.Error):
            alive = self.actors(kind)
            if alive and not self.ended:
                self.rng.choice(alive).send_signal(signal.SIGKILL)
                self.kills.append(kind)
                return True
        return False

    def kill_command(self) -> None:
        """The driver dies; Ray's own processes notice, and the run is taken up again."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for process in family:  # what a node agent would clean up
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=30)
        self.kills.append("Driver")

    def stop_command(self, seconds: float = 120.0) -> None:
        """SIGTERM to the driver, which ends as someone who was asked to."""
        os.kill(self.process.pid, signal.SIGTERM)
        assert self.process.wait(timeout=seconds) == 75, self.text()
        self.kills.append("SIGTERM")

    def finish(self, seconds: float = 400.0) -> Finished:
        self.process.wait(timeout=seconds)
        return Finished(self.process.returncode, self.text(), self.text(), self.run)

    def text(self) -> str:
        return "".join(path.read_text() for path in sorted(self.output.glob("log-*")))

    def _stamp(self) -> tuple[int, int]:
        with contextlib.suppress(FileNotFoundError):
            stat = (self.run / "metrics.jsonl").stat()
            return stat.st_mtime_ns, stat.st_size
        return 0, 0


def fates(done: Finished) -> set[tuple[str, str]]:
    """What was issued: (item, case). Each ended once: in pairs of one step, or dropped."""
    rows = done.ledger()
    assert len({row["pair_id"] for row in rows}) == len(rows), "a pair was recorded twice"
    ends = {(row["item_id"], row["step"], row["status"]) for row in rows}
    items = {(row["item_id"], row["case_id"]) for row in rows}
    assert len(ends) == len(items), "an item ended twice"
    return items


def require_whole(done: Finished, steps: int, lag: int, *, unsent: int = 0) -> None:
    """Every step once, every item with its end, every answer of a version it may have.

    `unsent`: how many steps may have no gap: the run stopped while their weights were on the way.
    """
    rows = done.metrics()
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    for row in rows:
        assert row["answers_issued"] == row["answers_trained"] + row["answers_dropped"]
        assert row["pairs_trained"] >= row["answers_trained"]
    gaps = [row["logp_gap"] for row in rows]
    assert gaps.count(None) <= unsent
    assert all(gap < 0.05 for gap in gaps if gap is not None)
    assert all(row["lag_max"] <= lag for row in rows)
    for row in done.ledger():
        assert row["status"] == "trained" or row["drop_reason"]
        assert 0 <= row["step"] - 1 - row["policy_version"] <= lag
