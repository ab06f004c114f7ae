"""`medray bench ledger`: what a run's length costs the writer of its ledger and its readers.

The rows are written by the run's own Ledger, step by step; each reader is a process of its own, so
that its memory is known. Beside it stands a ledger of a hundredth of the steps.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from medray.bench.scale.command import measure
from medray.config import Config, DataConfig, LoopConfig, RunConfig
from medray.data.dataset import open_dataset
from medray.errors import UserError
from medray.ledger import Ledger
from medray.records import Case, Dropped, Pair, PairScore, Response, Span
from medray.rundir import RunDirectory

_CASES = 64
TIMED_STEPS = 200
_WORDS = ("lungs", "clear", "heart", "normal", "no", "effusion", "left", "right", "base", "rib")
_TYPES = ("side", "size", "zone", "presence")
_REOPEN = (
    "import sys; from medray.ledger import Ledger; Ledger.reopen(sys.argv[1], int(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """`rows`: of the ledger; `batch`: of a step; `tokens`: words of an answer, part of which
    is a pair."""

    rows: int = 2_000_000
    batch: int = 32
    tokens: int = 300

    def __post_init__(self) -> None:
        if self.rows < 200 * self.batch or self.batch < 2 or self.tokens < 1:
            given = f"--rows {self.rows} --batch {self.batch} --tokens {self.tokens}"
            raise UserError(given, "too few", "give at least 200 batches, each of 2 or more")

    @property
    def steps(self) -> int:
        return self.rows // self.batch


def run_ledger(settings: LedgerSettings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    with tempfile.TemporaryDirectory(prefix="medray-bench-") as folder:
        shorter = LedgerSettings(max(settings.rows // 100, 200 * settings.batch), settings.batch)
        sizes = {"short": shorter.steps, "long": settings.steps}
        written = {}
        for name, steps in sizes.items():
            progress(f"writing {steps:,} steps")
            written[name] = _WrittenRun(Path(folder) / name, steps, settings)
        result: dict[str, Any] = {"settings": asdict(settings), "steps": sizes}
        seconds: dict[str, list[float]] = {name: [] for name in sizes}
        for _ in range(TIMED_STEPS):  # in turns: both meet the same load of the machine
            for name, run in written.items():
                seconds[name].append(run.step())
        for name, run in written.items():
            files = list(run.directory.ledger.iterdir())
            result[name] = {
                "step_ms": 1000 * median(seconds[name]),
                "bytes": sum(path.stat().st_size for path in files),
                "files": len(files),
            }
            for reader, command in _readers(run.directory, run.steps):
                progress(f"{reader} of {run.steps:,} steps")
                result[name][reader] = measure(command)
    return result


def _readers(run: RunDirectory, steps: int) -> Iterator[tuple[str, list[str]]]:
    medray = [sys.executable, "-m", "medray.cli"]
    yield "reopen", [sys.executable, "-c", _REOPEN, str(run.path), str(steps)]
    yield "pairs_of_a_step", [*medray, "pairs", str(run.path), "--step", str(steps // 2)]
    yield "report", [*medray, "report", str(run.path)]
    page = str(run.path / "review.html")
    yield "review", [*medray, "review", str(run.path), "-o", page, "--no-images"]
    yield "search", [*medray, "pairs", str(run.path), "--type", "side", "--limit", "5"]


class _WrittenRun:
    """A run of so many steps, to which further ones can be added."""

    def __init__(self, folder: Path, steps: int, settings: LedgerSettings) -> None:
        config = Config(
            run=RunConfig(name="run", output=str(folder)),
            data=DataConfig(kind="jsonl", path=str(_write_cases(folder))),
            loop=LoopConfig(steps=steps),
        )
        self.directory = RunDirectory(config.run_dir)
        self.directory.create(config)
        self.steps = 0
        self._settings = settings
        self._cases = open_dataset(config.data).train
        self._ledger = Ledger(self.directory.path)
        self._random = random.Random(0)
        for _ in range(steps):
            self.step()

    def step(self) -> float:
        """Record one more step; returns the seconds that it took the ledger."""
        self.steps += 1
        batch, draw = self._settings.batch, self._random.choices
        answers = [" ".join(draw(_WORDS, k=self._settings.tokens)) for _ in range(batch)]
        start = time.perf_counter()
        _fill_step(self._ledger, self.steps, draw(self._cases, k=batch), answers)
        seconds = time.perf_counter() - start
        line = {"step": self.steps, "policy_version": self.steps - 1, "loss": 0.5}
        with self.directory.metrics_file.open("a", encoding="utf-8") as metrics:
            metrics.write(json.dumps(line) + "\n")
        return seconds


def _fill_step(ledger: Ledger, step: int, cases: list[Case], answers: list[str]) -> None:
    """Pairs of sentences; of each step the last answer is dropped."""
    ids = [f"s{step:06d}-{i:04d}" for i in range(len(cases))]
    ledger.issue(step, zip(ids, cases, strict=True))
    for i, (item, case, answer) in enumerate(zip(ids, cases, answers, strict=True)):
        version = step - 1
        ledger.response(Response(item, case.case_id, version, answer, (), (), finished=True))
        if i == len(ids) - 1:
            ledger.drop(Dropped(item, case.case_id, version, "abstained:no-variant"))
        else:
            score = PairScore(item, 0.5, -3.0, -4.0, -3.2, -3.9, 0.1)
            ledger.trained(_pair(item, case, version, answer, _TYPES[i % len(_TYPES)]), score)
    ledger.close_step(step)


def _pair(item: str, case: Case, version: int, answer: str, error_type: str) -> Pair:
    middle = answer.index(" ", len(answer) // 2) + 1
    rejected = answer[middle : middle + 60]
    span = (Span(0, 4, error_type, 1.0, 'the reference says "left"'),)
    return Pair(
        *(item, item, case.case_id, version, "left" + rejected, rejected, span, span),
        response_was_correct=False,
        relevance=1.0,
        editor="findings",
        scope="sentence",
        sentence=3,
        prefix=answer[:middle],
    )


def _write_cases(folder: Path) -> Path:
    """A JSON-lines dataset of small images."""
    folder.mkdir(parents=True)
    rows = []
    for i in range(_CASES):
        Image.new("L", (64, 64), i).save(folder / f"{i}.png")
        row = {"id": f"case-{i}", "image": f"{i}.png", "question": "Describe the radiograph."}
        rows.append({**row, "answer": "The lungs are clear.", "split": "train"})
    rows[-1]["split"] = "heldout"
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def show_ledger(result: dict[str, Any]) -> None:
    """Print a row per figure, the long ledger beside the short one."""
    short, long = result["short"], result["long"]
    steps = result["steps"]
    print(f"{'':24}{steps['short']:>14,} steps{steps['long']:>14,} steps")
    for key, unit, scale in (("bytes", "MB", 1e6), ("files", "", 1)):
        print(f"{key:24}{short[key] / scale:>20,.0f}{long[key] / scale:>20,.0f} {unit}")
    print(
        f"{'step':24}{short['step_ms']:>20.1f}{long['step_ms']:>20.1f} ms, median of {TIMED_STEPS}"
    )
    for key in ("reopen", "pairs_of_a_step", "report", "review", "search"):
        for unit in ("seconds", "cpu_seconds", "peak_mib"):
            print(f"{f'{key} {unit}':24}{short[key][unit]:>20.1f}{long[key][unit]:>20.1f}")
