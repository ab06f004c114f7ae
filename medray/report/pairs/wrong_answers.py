"""The answers of the last evaluation that are wrong, from the ones that it kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medray.rundir import RunDirectory

_TEXTS = ("case_id", "image_sha256", "answer_type", "question", "reference", "answer", "verdict")
_SCORES = ("closed_accuracy", "choice_accuracy", "report_exact", "severity_weighted_errors")
_BATCH = 512  # answers in memory at once


@dataclass(frozen=True, slots=True)
class WrongAnswers:
    """`rows`: some of the wrong ones, those that were right before training first, then by the
    severity of their errors. `again`: how many were right before; None if that is not known."""

    step: int
    answers: int
    wrong: int
    again: int | None
    rows: list[dict[str, Any]]


def wrong_answers(run: RunDirectory, evals: list[int], limit: int) -> WrongAnswers | None:
    """At most `limit` of the last evaluation's; None if it kept no answers."""
    if not evals or not run.answers_file(evals[-1]).exists():
        return None
    before: dict[str, bool] = {}
    if len(evals) > 1:
        first = _rows(run.answers_file(evals[0]))
        before = {row["case_id"]: is_wrong(row) for row in first}
    count, wrong, again = 0, 0, 0
    found: list[dict[str, Any]] = []
    for row in _rows(run.answers_file(evals[-1])):
        count += 1
        if not is_wrong(row):
            continue
        wrong += 1
        was_right = before.get(row["case_id"]) is False
        again += was_right
        found.append({**row, "was_right": was_right})
        if len(found) > 4 * limit:
            found = sorted(found, key=_worst_first)[:limit]
    rows = sorted(found, key=_worst_first)[:limit]
    return WrongAnswers(evals[-1], count, wrong, again if before else None, rows)


def is_wrong(row: dict[str, Any]) -> bool:
    """By the editor's verdict, or by the option or the yes or no that was chosen."""
    missed = any(row.get(name) == 0.0 for name in ("closed_accuracy", "choice_accuracy"))
    return row["verdict"] == "wrong" or missed


def _worst_first(row: dict[str, Any]) -> tuple[bool, float, str]:
    severity = row.get("severity_weighted_errors") or 0.0
    return not row["was_right"], -severity, row["case_id"]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The answers of an evaluation; none if they were not kept."""
    if not path.exists():
        return
    try:
        with pq.ParquetFile(path) as file:
            there = set(file.schema_arrow.names)
            if not there.issuperset(_TEXTS):
                return
            columns = [name for name in (*_TEXTS, *_SCORES) if name in there]
            for batch in file.iter_batches(_BATCH, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException):
        return
