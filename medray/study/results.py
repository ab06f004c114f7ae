"""What the cells of a study left on disk: their last evaluation, answer by answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medray.config import Config
from medray.data.stream import first_studies
from medray.errors import MedrayError
from medray.evaluation.answer_files import read_answers
from medray.evaluation.answers import AnswerRow
from medray.evaluation.metrics import score_answers
from medray.files import read_file, write_text
from medray.plan import open_data
from medray.records import Case
from medray.rundir import RunDirectory
from medray.study.design import Cell, Study

FAILURES, STARTS = "failures.json", "starts.json"  # in the folder of a study


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell: the step of its last evaluation, its figures, and its scored answers.

    `failure`: why there is nothing, in one line; "" if there is. `curve`: the figures of all of its
    evaluations, by step.
    """

    cell: Cell
    failure: str = ""
    step: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    answers: tuple[AnswerRow, ...] = ()
    curve: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


def is_done(study: Study, cell: Cell) -> bool:
    """Whether the cell's run was evaluated after its last step."""
    run = RunDirectory(study.path / "cells" / cell.name)
    return run.holds_run and study.config(cell).loop.steps in run.read_evals()


def read_notes(folder: Path, name: str) -> dict[str, Any]:
    """FAILURES (cell → why) or STARTS (cell → how its actors began); {} if there are none."""
    try:
        content = json.loads(read_file(folder / name))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_notes(folder: Path, name: str, notes: Mapping[str, Any]) -> None:
    write_text(folder / name, json.dumps(notes, indent=1) + "\n")


def read_results(study: Study, failures: Mapping[str, str]) -> list[CellResult]:
    """The results of all cells. `failures`: by the names of cells, why they did not end."""
    cases_of = _Cases()
    return [_read(study, cell, failures.get(cell.name, ""), cases_of) for cell in study.cells]


class _Cases:
    """The evaluated cases of a configuration; cells with the same data share them."""

    def __init__(self) -> None:
        self._known: dict[str, list[Case]] = {}

    def __call__(self, config: Config) -> list[Case]:
        key = repr((config.data, config.eval.data, config.eval.n, config.run.output))
        if key not in self._known:
            config, dataset = open_data(config)
            self._known[key] = first_studies(dataset.heldout, config.eval.n)
        return self._known[key]


def _read(
    study: Study, cell: Cell, failure: str, cases_of: Callable[[Config], list[Case]]
) -> CellResult:
    run = RunDirectory(study.path / "cells" / cell.name)
    if not is_done(study, cell):
        return CellResult(cell, failure or "not run")
    evals = run.read_evals()
    step, curve = max(evals), {step: _numbers(result) for step, result in evals.items()}
    try:
        rows = _rows(run.answers_file(step), cases_of(run.read_config()), cell)
    except MedrayError as error:
        return CellResult(cell, str(error), step, curve[step])
    intervals = evals[step].get("intervals") or {}
    return CellResult(cell, "", step, curve[step], intervals, rows, curve)


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an evaluation."""
    return {
        name: float(value)
        for name, value in result.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _rows(path: Path, cases: Sequence[Case], cell: Cell) -> tuple[AnswerRow, ...]:
    """The scored answers. Cases have other ids for each seed, so that seeds can be pooled."""
    answers, _ = read_answers(path, cases)
    scored = score_answers(cases, answers.texts, confidences=answers.confidences)
    seeds = "/".join(label for key, label in cell.levels if (key, label) not in cell.group)
    return tuple(
        replace(row, case=replace(row.case, case_id=f"{row.case.case_id}/{seeds}"))
        for row in scored
    )
