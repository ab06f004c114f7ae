"""Answers on disk: those of a model that ran elsewhere, and the scored ones of an evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medray.data.sources import json_lines, parquet_rows
from medray.errors import DataError
from medray.evaluation.answers import AnswerRow, Answers
from medray.evaluation.metrics import answer_scores
from medray.evaluation.sums import Figure
from medray.files import output_file
from medray.records import Case

if TYPE_CHECKING:
    import pyarrow as pa

TODO = 'write one {"case_id": …, "answer": …} a line'


def read_answers(path: Path, cases: Sequence[Case]) -> tuple[Answers, list[str]]:
    """The answers of a .jsonl file, or of an evaluation's .parquet, to `cases`; and notes.

    A row has case_id, answer, and perhaps confidence. Answers to other cases are left out, with a
    note; so are cases without an answer. Raises DataError for a row that cannot be used, an id
    that occurs twice, and if no id is that of a case.
    """
    if not path.is_file():
        raise DataError(str(path), "no such file", "give a .jsonl file of answers")
    known = {case.case_id for case in cases}
    texts: dict[str, str] = {}
    confidences: dict[str, float] = {}
    places: dict[str, str] = {}
    for where, row in _rows(path):
        case_id, text, confidence = _checked(row, where)
        if case_id in places:
            raise DataError(where, f"answers the case of {places[case_id]} again", "keep one")
        places[case_id] = where
        if case_id not in known:
            continue
        texts[case_id] = text
        if confidence is not None:
            confidences[case_id] = confidence
    if not texts:
        why = "holds no answer" if not places else "none of its case_id is that of a held-out case"
        raise DataError(str(path), why, "give answers to the cases that this configuration holds")
    return Answers(texts, confidences), _notes(len(places), len(texts), len(known))


def write_answers(path: Path, answers: Answers) -> None:
    """As `read_answers` reads them. Raises DataError if the file cannot be written."""
    with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for case_id, text in answers.texts.items():
            row: dict[str, object] = {"case_id": case_id, "answer": text}
            if case_id in answers.confidences:
                row["confidence"] = answers.confidences[case_id]
            file.write(json.dumps(row) + "\n")


def write_answer_table(path: Path, rows: Sequence[AnswerRow], more: Sequence[Figure] = ()) -> None:
    """`answer_table` as a Parquet file. Raises DataError if it cannot be written."""
    import pyarrow.parquet as pq

    with output_file(path) as temporary:
        pq.write_table(answer_table(rows, more), temporary)


def answer_table(rows: Sequence[AnswerRow], more: Sequence[Figure] = ()) -> pa.Table:
    """One row per answer: the case, what was answered, the verdict and every figure of it alone,
    `more` included, and what a judge said of it (METRIC.judgement, JSON)."""
    import pyarrow as pa

    text, real = pa.string(), pa.float64()
    texts = ("case_id", "image_sha256", "answer_type", "question", "reference", "answer", "verdict")
    scores = answer_scores(rows, more)
    judged = dict.fromkeys(name for row in rows for name in row.judgements)
    judgements = {
        f"{name}.judgement": [_printable(row.judgements.get(name)) for row in rows]
        for name in judged
    }
    fields = [*((name, text) for name in texts), ("confidence", real)]
    fields += [*((name, real) for name in scores), *((name, text) for name in judgements)]
    schema = pa.schema(fields)
    columns: dict[str, list[Any]] = {
        **{name: [_printable(getattr(row.case, name)) for row in rows] for name in texts[:5]},
        "answer": [_printable(row.answer) for row in rows],
        "verdict": [row.verdict for row in rows],
        "confidence": [row.confidence for row in rows],
        **scores,
        **judgements,
    }
    return pa.table(columns, schema=schema)


def _printable(text: str | None) -> str | None:
    """Parquet holds UTF-8, which lone surrogates are not."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) of a .jsonl or .parquet file."""
    found = parquet_rows(path) if path.suffix == ".parquet" else json_lines(path)
    for where, row in found:
        if not isinstance(row, dict):
            raise DataError(where, "is not an object", TODO)
        yield where, row


def _checked(row: dict[str, Any], where: str) -> tuple[str, str, float | None]:
    for key in ("case_id", "answer"):
        if not isinstance(row.get(key), str):
            why = "is missing" if row.get(key) is None else "is not a text"
            raise DataError(f"{where}: {key}", why, TODO)
    confidence = row.get("confidence")
    if confidence is None:
        return row["case_id"], row["answer"], None
    number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if not number or not (math.isfinite(confidence) and 0.0 <= confidence <= 1.0):
        raise DataError(f"{where}: confidence", "is not a number from 0 to 1", "correct it")
    return row["case_id"], row["answer"], float(confidence)


def _notes(given: int, used: int, cases: int) -> list[str]:
    notes = []
    if given > used:
        notes.append(f"{given - used} of {given} answers are to no case evaluated here: left out")
    if cases > used:
        notes.append(
            f"{cases - used} of {cases} cases have no answer: the figures are without them"
        )
    return notes
