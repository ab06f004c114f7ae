"""The editor over a JSON Lines file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medray.editing.edit_file import edit_file
from medray.errors import DataError

ROWS = [
    {"question": "Is there a nodule?", "gold": "no", "model_answer": "yes", "id": 7},
    {"question": "Which side?", "gold": "Left", "model_answer": "On the left."},
    {"question": "where?", "gold": "fat", "model_answer": "👩‍⚕️ yes"},
    {"question": "how many lesions?", "gold": 1, "model_answer": "two"},
]


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_line_keeps_its_keys_and_gets_a_verdict(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    counts = edit_file(write(tmp_path / "in.jsonl", list(ROWS)), out)
    assert counts == {"wrong": 2, "right": 1, "abstain": 1}
    edited = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert all(
        {**row, **{k: new[k] for k in row}} == row for row, new in zip(ROWS, edited, strict=True)
    )
    wrong, right, abstain, count = edited
    assert (wrong["verdict"], wrong["edited"], wrong["opposite"]) == ("wrong", "no", None)
    assert wrong["spans"] == [
        {
            "start": 0,
            "end": 3,
            "replacement": "no",
            "error_type": "presence",
            "severity": 1.0,
            "reason": "the reference answers the other way",
        }
    ]
    assert (right["verdict"], right["edited"]) == ("right", "On the left.")
    assert right["opposite"] == "On the right."
    assert (abstain["verdict"], abstain["edited"], abstain["opposite"]) == ("abstain", None, None)
    assert (abstain["spans"], abstain["reason"]) == ([], "not-comparable")
    assert count["edited"] == "one"


def test_spans_applied_to_the_answer_give_the_other_side(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    edit_file(write(tmp_path / "in.jsonl", list(ROWS)), out, seed=3)
    for row in map(json.loads, out.read_text(encoding="utf-8").splitlines()):
        text = row["model_answer"]
        for span in reversed(row["spans"]):
            text = text[: span["start"]] + span["replacement"] + text[span["end"] :]
        other = row["opposite"] if row["verdict"] == "right" else row["edited"]
        assert text == (other if other is not None else row["model_answer"])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not an object"),
        ('{"question": "q", "gold": "g"}', "model_answer: is missing"),
        ('{"question": "q", "gold": "g", "model_answer": null}', "not a text"),
        ('{"question": "q", "gold": true, "model_answer": "a"}', "gold: is bool"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path: Path, line: str, what: str) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(ROWS[0]) + "\n\n" + line + "\n", encoding="utf-8")
    out.write_text("before", encoding="utf-8")
    with pytest.raises(DataError, match=r"in\.jsonl:3") as caught:
        edit_file(source, out)
    assert what in str(caught.value)
    assert out.read_text(encoding="utf-8") == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_missing_and_unwritable_files_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        edit_file(tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    source = write(tmp_path / "in.jsonl", list(ROWS))
    with pytest.raises(DataError, match="cannot be written"):
        edit_file(source, tmp_path / "nowhere" / "out.jsonl")


@pytest.mark.data
def test_real_answers_agree_with_their_labels(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    edit_file(shared_data / "model_answers" / "qwen2vl2b_vqa_rad.jsonl", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    labelled = [row for row in rows if row["label_correct"] is not None]
    judged = [row for row in labelled if row["verdict"] != "abstain"]
    agree = sum((row["verdict"] == "right") == row["label_correct"] for row in judged)
    assert len(judged) >= 0.95 * len(labelled)
    assert agree >= 0.98 * len(judged)
