"""The variants of a comparison, each in a process of its own, taking turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import medray
from medray.bench.learner.settings import Settings
from medray.errors import RunFailed

Progress = Callable[[str], None]


@dataclass(slots=True)
class Measured:
    """What one variant reported about itself and every repeat; `gradients`: of the last.

    `failure`: why it ended, such as memory that it did not get; "" if it did not.
    """

    gradients: Path
    facts: dict[str, Any] = field(default_factory=dict)
    repeats: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    @property
    def seconds(self) -> float:
        return float(median(repeat["seconds"] for repeat in self.repeats))

    @property
    def peak_bytes(self) -> int:
        return max(int(repeat["peak_bytes"]) for repeat in self.repeats)

    @property
    def last(self) -> dict[str, Any]:
        return self.repeats[-1]

    def summary(self, pairs: int) -> dict[str, Any]:
        """The variant's part of the result; of one that failed, only why."""
        if self.failure:
            return {"error": self.failure}
        seconds = [repeat["seconds"] for repeat in self.repeats]
        summary: dict[str, Any] = {
            "seconds": {"median": self.seconds, "min": min(seconds), "max": max(seconds)},
            "pairs_per_second": pairs / self.seconds,
            "peak_bytes": self.peak_bytes,
            "baseline_bytes": self.facts["baseline_bytes"],
            "loss": self.last["loss"],
            "gradient_norm": self.last["gradient_norm"],
        }
        if "limit_seconds" in self.last:
            shares = [repeat["limit_seconds"] / repeat["seconds"] for repeat in self.repeats]
            summary["of_limit"] = median(shares)
        return summary | {k: self.facts[k] for k in ("tokens", "operations") if k in self.facts}


def measure(
    names: Sequence[str], settings: Settings, folder: Path, progress: Progress
) -> dict[str, Measured]:
    """Build all variants, then run a warm-up and `repeats` repeats of each, in turns.

    One that fails is left out from then on; RunFailed if all of them do. Logs and gradients are
    written to `folder`. On a GPU a repeat is a warm-up and a timed step,
    after which cached memory is freed: it is then available to the other variants, and freeing it
    is not timed.
    """
    with ExitStack() as stack:
        progress(f"building {' and '.join(names)} ({settings.shape}, {settings.objective})")
        variants = [
            Variant(name, settings, stack.enter_context(_process(name, folder)), folder)
            for name in names
        ]
        for variant in variants:
            variant.attempt(variant.introduce)
        for variant in variants:
            progress(f"warming up {variant.name}")
            variant.attempt(partial(variant.repeat, release=True))
        for number in range(settings.repeats):
            progress(f"repeat {number + 1} of {settings.repeats}")
            last = number == settings.repeats - 1
            for variant in variants if number % 2 == 0 else reversed(variants):
                variant.attempt(partial(variant.take_turn, gradients=last))
        failures = [variant.failure for variant in variants if variant.failure]
        if len(failures) == len(variants):
            raise failures[0]
        return {variant.name: variant.measured for variant in variants}


class Variant:
    """The parent's end of the conversation with `medray.bench.learner.worker_protocol`."""

    def __init__(self, name: str, settings: Settings, process: Any, folder: Path) -> None:
        self.name, self.process, self.log = name, process, _log(folder, name)
        self.measured = Measured(folder / f"{name}.safetensors")
        self.failure: RunFailed | None = None
        self._send({"variant": name, "settings": asdict(settings)})

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do it unless the variant has failed before; it has failed if RunFailed is raised."""
        if self.failure is None:
            try:
                action()
            except RunFailed as failure:
                self.failure, self.measured.failure = failure, failure.why

    def introduce(self) -> None:
        """Wait until its model is built."""
        self.measured.facts = self.receive()

    def take_turn(self, *, gradients: bool) -> None:
        """One measured repeat; on a GPU, behind one that warms it up again."""
        if not self.measured.facts["on_cpu"]:
            self.repeat()
        self.measured.repeats.append(self.repeat(release=True, gradients=gradients))

    def repeat(self, *, release: bool = False, gradients: bool = False) -> dict[str, Any]:
        """Run one repeat; `release`: free cached memory, because another variant is next."""
        path = str(self.measured.gradients) if gradients else None
        self._send({"release": release, "gradients": path})
        return self.receive()

    def receive(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line.strip() else {"error": ""}
        if "error" in message:
            raise self._failed(message["error"])
        return message

    def _send(self, message: dict[str, Any]) -> None:
        try:
            print(json.dumps(message), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed("") from None

    def _failed(self, error: str) -> RunFailed:
        code = self.process.wait()
        if not error and code == -9:
            error = "it was killed, probably because it ran out of memory"
        log_lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        why = error or f"exit code {code}; {log_lines[-1] if log_lines else 'its log is empty'}"
        todo = "use smaller sizes" if "memory" in why else ""
        return RunFailed(f"the {self.name} variant of the benchmark", why, todo)


def _log(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"


@contextmanager
def _process(name: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    with _log(folder, name).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "medray.bench.learner.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=_environment(folder),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(BrokenPipeError):
                pipe.close() if pipe is not None else None


def _environment(folder: Path) -> dict[str, str]:
    """This checkout's medray, one GPU, no downloads, and threads that do not spin while idle."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return os.environ | {
        "PYTHONPATH": str(Path(medray.__file__).parents[1]),
        "CUDA_VISIBLE_DEVICES": gpus,
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hub"),
    }
