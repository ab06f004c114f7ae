"""MedHEval's four classes: questions labelled by reading, and the rows of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from medray.data.readers import READERS
from medray.errors import DataError
from medray.evaluation.metrics import evaluate
from medray.targeting.visual_classes import CLASSES, visual_class
from tests.support.paths import ROOT

FILE = ROOT / "tests/support/datasets/visual_questions.yaml"
QUESTIONS = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_there_are_thirty_questions_of_each_class():
    counts = {name: len(set(questions)) for name, questions in QUESTIONS.items()}
    assert counts == dict.fromkeys(CLASSES, 30)


@pytest.mark.parametrize("name", CLASSES)
def test_the_class_is_right_in_at_least_85_percent(name):
    wrong = {q: visual_class(q) for q in QUESTIONS[name] if visual_class(q) != name}
    assert len(wrong) <= 0.15 * len(QUESTIONS[name]), wrong


def medheval(folder: Path, **changes: object) -> Path:
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "images/a.jpg")
    row = {"qid": 1, "img_name": "a.jpg", "question_type": "type_1", "hallucination_type": "visual"}
    rows = [
        row | {"question": "Is the liver visible?", "answer": "yes"},
        row | {"question": "Which plane is it?", "answer": "B", "choices": "A: axial, B: coronal"},
        row | {"question": "Is there a mass?", "answer": "No"} | changes,
    ]
    (folder / "rad_vqa_pairs.json").write_text(json.dumps(rows))
    return folder


def test_its_rows_are_read_and_counted_by_class(tmp_path):
    cases = [row.case for row in READERS["medheval"](str(medheval(tmp_path)))]
    assert [case.answer_type for case in cases] == ["closed", "choice", "closed"]
    assert cases[1].reference == "B. coronal"
    assert cases[1].question.splitlines() == ["Which plane is it?", "A. axial", "B. coronal"]
    assert {row.split for row in READERS["medheval"](str(tmp_path))} == {""}
    answers = dict(zip((c.case_id for c in cases), ("Yes", "A", "There is none"), strict=True))
    answers[cases[0].case_id] = "No"
    result = evaluate(cases, answers)
    assert result["by_visual_class"] == {
        "anatomical": {"asked": 1, "wrong": 1, "rate": 1.0},
        "measurement": {"asked": 1, "wrong": 1, "rate": 1.0},
        "symptom": {"asked": 1, "wrong": 1, "rate": 1.0},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choices": "axial or coronal"}, "choices: is not of the form"),
        ({"choices": "A: axial, C: coronal"}, "choices: is not of the form"),
        ({"choices": "A: axial, B: coronal", "answer": "D"}, "is neither the letter nor"),
        ({"question": ""}, "question: is empty"),
        ({"img_name": None}, "img_name: is missing"),
    ],
)
def test_a_bad_row_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        list(READERS["medheval"](str(medheval(tmp_path, **changes))))
    assert "row 3" in str(caught.value)


def test_a_folder_without_its_lists_is_refused(tmp_path):
    with pytest.raises(DataError, match="not MedHEval"):
        list(READERS["medheval"](str(tmp_path)))
