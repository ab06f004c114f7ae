"""Multiple-choice rows: options in the question, the reference as letter and text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medray.data.readers.jsonl import read_jsonl
from medray.data.readers.parquet import read_parquet
from medray.data.tables import read_cases, write_cases
from medray.errors import DataError

PLANES = ["Axial", "Coronal", "Sagittal plane"]
QUESTION = "Which plane?\nA. Axial\nB. Coronal\nC. Sagittal plane"


def read(folder: Path, **fields: Any) -> Any:
    row = {"id": "a", "image": "a.png", "question": "Which plane?", **fields}
    (folder / "records.jsonl").write_text(json.dumps(row))
    (read_row,) = read_jsonl(str(folder))
    return read_row.case


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "B.",
        "(b)",
        "B)",
        "Coronal",
        "coronal.",
        "B. Coronal",
        "B: coronal.",
        "(B) Coronal",
    ],
)
def test_the_answer_is_a_letter_or_a_text(tmp_path: Path, answer: str) -> None:
    case = read(tmp_path, options=PLANES, answer=answer)
    assert (case.question, case.reference) == (QUESTION, "B. Coronal")
    assert case.answer_type == "choice"


@pytest.mark.parametrize(
    "options",
    [
        {"options": PLANES},
        {"choices": PLANES},
        {"choices": {"A": "Axial", "B": "Coronal", "C": "Sagittal plane", "D": None}},
        {"options": ["A. Axial", "B. Coronal", "C. Sagittal plane"]},
        {"options": ["A) Axial", "B) Coronal", "C) Sagittal plane"]},
        {"options": ["(A) Axial", "(B) Coronal", "(C) Sagittal plane"]},
        {"options": "['Axial', 'Coronal', 'Sagittal plane']"},
        {"options": PLANES, "answer_type": "closed"},
        {"options": PLANES, "answer_type": "choice"},
    ],
)
def test_layouts_of_options(tmp_path: Path, options: dict[str, Any]) -> None:
    case = read(tmp_path, answer="C", **options)
    assert (case.question, case.reference) == (QUESTION, "C. Sagittal plane")
    assert case.answer_type == "choice"


def test_numbers_may_be_options(tmp_path: Path) -> None:
    case = read(tmp_path, options=[1, 2, 4], answer=2)
    assert case.reference == "B. 2"
    assert case.question == "Which plane?\nA. 1\nB. 2\nC. 4"


def test_an_option_that_begins_like_a_letter_keeps_it(tmp_path: Path) -> None:
    case = read(tmp_path, options=["C. difficile colitis", "Crohn's disease"], answer="A")
    assert case.reference == "A. C. difficile colitis"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"options": PLANES, "answer": "D"}, "neither the letter nor the text"),
        ({"options": PLANES, "answer": "1"}, "neither the letter nor the text"),
        ({"options": PLANES, "answer": "B. Axial"}, "neither the letter nor the text"),
        ({"options": PLANES, "answer": ""}, "neither the letter nor the text"),
        ({"options": ["Axial"], "answer": "A"}, "has 1 options"),
        ({"options": [str(n) for n in range(11)], "answer": "A"}, "has 11 options"),
        ({"options": ["Axial", "axial"], "answer": "A"}, "same one twice"),
        ({"options": ["Axial", ""], "answer": "A"}, "empty option"),
        ({"options": ["Axial", ["x"]], "answer": "A"}, "not a list of texts"),
        ({"options": "Axial or coronal", "answer": "A"}, "not a list of texts"),
        ({"options": {"1": "Axial", "2": "Coronal"}, "answer": "1"}, "keys are not A, B, C"),
        ({"answer": "B", "answer_type": "choice"}, "options: is missing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(DataError, match=why):
        read(tmp_path, **fields)


def test_parquet_has_options_too(tmp_path: Path) -> None:
    table = pa.table(
        {"image": ["a.png"], "question": ["Which plane?"], "choices": [PLANES], "answer": ["A"]}
    )
    pq.write_table(table, tmp_path / "train.parquet")
    (row,) = read_parquet(str(tmp_path))
    assert (row.case.question, row.case.reference) == (QUESTION, "A. Axial")
    write_cases(tmp_path / "cases.parquet", [row])
    (again,) = read_cases(str(tmp_path / "cases.parquet"))
    assert (again.case.question, again.case.answer_type) == (QUESTION, "choice")
