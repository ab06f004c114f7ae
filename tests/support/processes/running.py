"""Real runs, started as a person starts them: the command line in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT


@dataclass(frozen=True)
class Finished:
    """A command that ended, and the run it left."""

    code: int
    out: str
    err: str
    path: Path

    def metrics(self) -> list[dict]:
        return [json.loads(line) for line in (self.path / "metrics.jsonl").open()]

    def evals(self) -> dict[int, dict]:
        files = sorted((self.path / "eval").glob("step-*.json"))
        return {int(f.stem.removeprefix("step-")): json.loads(f.read_text()) for f in files}

    def ledger(self) -> list[dict]:
        from medray.ledger import read_ledger

        return read_ledger(self.path).to_pylist()


def environment(**extra: str) -> dict[str, str]:
    """No cluster of anyone else, no spinning threads beside other work."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return env | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"} | extra


def medray(*arguments: str, timeout: float = 420, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "medray.cli", *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def launch(output: Path, config: str, *overrides: str, **options) -> Finished:
    """`medray launch` into `output`; the run need not succeed."""
    name = next((o.split("=")[1] for o in overrides if o.startswith("run.name=")), "run")
    done = medray(
        "launch", config, f"run.output={output}", f"run.name={name}", *overrides, **options
    )
    return Finished(done.returncode, done.stdout, done.stderr, output / name)


def launch_and_kill(output: Path, config: str, *overrides: str, rows: int) -> list[str]:
    """SIGKILL to `medray launch` and all it started, once `rows` steps are done.

    Returns the arguments to `medray` that continue the run.
    """
    arguments = ["launch", config, f"run.output={output}", "run.name=killed", *overrides]
    process = subprocess.Popen(
        [sys.executable, "-m", "medray.cli", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    metrics, deadline = output / "killed/metrics.jsonl", time.monotonic() + 300
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= rows):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return [*arguments, "--resume"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
