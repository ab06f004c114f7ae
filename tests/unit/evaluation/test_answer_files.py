"""Answers on disk: made elsewhere, and kept by an evaluation."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from medray.errors import DataError
from medray.evaluation.answer_files import (
    answer_table,
    read_answers,
    write_answer_table,
    write_answers,
)
from medray.evaluation.answers import Answers
from medray.evaluation.metrics import evaluate, score_answers
from medray.records import Case

CASES = [
    Case("a", "1.png", "01", "Is there a nodule?", "Yes", "closed", patient_id="secret-7"),
    Case("b", "2.png", "02", "Where is the nodule?", "left lung", "open", patient_id="secret-8"),
]
GIVEN = Answers({"a": "Yes", "b": "the left lung \u201c\n\u2028"}, {"a": 0.75})


def test_answers_come_back_as_written(tmp_path):
    path = tmp_path / "a.jsonl"
    write_answers(path, GIVEN)
    assert read_answers(path, CASES) == (GIVEN, [])
    assert json.loads(path.read_text().splitlines()[1]) == {
        "case_id": "b",
        "answer": GIVEN.texts["b"],
    }


def test_the_table_has_texts_verdict_and_scores_and_no_patient(tmp_path):
    rows = score_answers(CASES, {"a": "No", "b": "left \ud800"}, confidences={"a": 0.75})
    path = tmp_path / "step-000001.answers.parquet"
    write_answer_table(path, rows)
    table = pq.read_table(path)
    assert table.schema == answer_table([]).schema
    first, second = table.to_pylist()
    assert (first["case_id"], first["image_sha256"], first["reference"]) == ("a", "01", "Yes")
    assert (first["answer"], first["verdict"], first["confidence"]) == ("No", "wrong", 0.75)
    assert (first["closed_accuracy"], first["open_recall"]) == (0.0, None)
    assert (second["answer"], second["open_recall"]) == ("left ?", 0.5)
    assert b"secret" not in path.read_bytes()
    assert "patient_id" not in table.column_names


def test_scores_average_to_the_figures():
    answers = {"a": "Yes", "b": "right lung"}
    table = answer_table(score_answers(CASES, answers))
    result = evaluate(CASES, answers)
    for name in ("closed_accuracy", "open_recall"):
        values = [value for value in table[name].to_pylist() if value is not None]
        assert sum(values) / len(values) == result[name]


def test_a_kept_evaluation_can_be_read_as_answers(tmp_path):
    path = tmp_path / "x.parquet"
    write_answer_table(path, score_answers(CASES, GIVEN.texts, confidences=GIVEN.confidences))
    assert read_answers(path, CASES) == (GIVEN, [])


def test_other_and_missing_cases_are_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    write_answers(path, Answers({"a": "Yes", "z": "No"}))
    answers, notes = read_answers(path, CASES)
    assert answers.texts == {"a": "Yes"}
    assert notes == [
        "1 of 2 answers are to no case evaluated here: left out",
        "1 of 2 cases have no answer: the figures are without them",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"case_id": "a"}', "a.jsonl:1: answer: is missing"),
        ('{"answer": "Yes"}', "a.jsonl:1: case_id: is missing"),
        ('{"case_id": "a", "answer": 1}', "answer: is not a text"),
        ('{"case_id": "a", "answer": "Yes", "confidence": 2}', "not a number from 0 to 1"),
        ('{"case_id": "a", "answer": "Yes", "confidence": true}', "not a number from 0 to 1"),
        ('{"case_id": "a", "answer": "Yes", "confidence": NaN}', "not a number from 0 to 1"),
        (
            '{"case_id": "a", "answer": ""}\n\n{"case_id": "a", "answer": ""}',
            "jsonl:3: answers the",
        ),
        ('["a", "Yes"]', "is not an object"),
        ("a,Yes", "is not valid JSON"),
        ('{"case_id": "z", "answer": "Yes"}', "none of its case_id is that of a held-out case"),
        ("", "holds no answer"),
    ],
)
def test_bad_answers_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message.replace(".", r"\.")) as caught:
        read_answers(path, CASES)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_answers(tmp_path / "none.jsonl", CASES)
