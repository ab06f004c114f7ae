"""What tables, templates and terminals mean by something is never a text to learn from."""

from __future__ import annotations

import json
import math

import pytest

from medray.data.exchange import export_pairs, import_data
from medray.data.pairs.base import answer_text
from medray.data.readers.jsonl import read_jsonl
from medray.data.rows import FieldError, placeholder, words
from medray.data.tables import read_pairs
from medray.errors import DataError

ROW = {"image": "a.png", "question": "Is there a nodule?", "answer": "No"}
MISSING = [math.nan, math.inf, -math.inf, None, "nan", "NaN", "<NA>", "NULL", "null", "Infinity"]
HIDDEN = "\x00\x1b[2J\x07\x9b\u202e\u2066\u200b\ufeff\U000e0041"


def jsonl(folder, *rows):
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)  # writes NaN, as pandas does
    (folder / "records.jsonl").write_text(text)
    return str(folder)


def pair(**changes):
    turns = [
        {"from": "human", "value": "<image>\nIs it?"},
        {"from": "gpt", "value": changes.pop("chosen", "Yes.")},
    ]
    rejected = [turns[0], {"from": "gpt", "value": changes.pop("rejected", "No.")}]
    row = {"id": "p", "image": "a.png", "conversations": turns, "rejected_conversations": rejected}
    return row | changes


@pytest.mark.parametrize("value", MISSING, ids=str)
def test_a_missing_value_is_no_text(tmp_path, value):
    assert words(value) == ""
    row = ROW | {"answer": value, "patient_id": value, "source": value, "id": value}
    (read,) = read_jsonl(jsonl(tmp_path / "d", row))
    case = read.case
    assert (case.reference, case.patient_id, case.source, case.case_id) == ("", "", "", "row-1")


@pytest.mark.parametrize("value", MISSING, ids=str)
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_missing_side_of_a_pair_is_refused(tmp_path, value, side):
    (tmp_path / "p.json").write_text(json.dumps([pair(**{side: value})]))
    with pytest.raises(DataError) as caught:
        import_data("mmedpo", str(tmp_path / "p.json"), tmp_path / "o.parquet")
    assert "missing" in caught.value.why
    assert not (tmp_path / "o.parquet").exists()


def test_words_that_may_be_answers_stay():
    for text in ("None", "N/A", "no", "0", "nausea", "info", "a < b", "Nan"):
        assert words(text) == answer_text(text, "") == text


@pytest.mark.parametrize(
    "mark",
    [
        *("<image>", "<video>", "<audio>", "<s>", "</s>", "<|image_pad|>", "<|im_start|>"),
        *("[INST]", "[/INST]", "<|eot_id|>", "<image_soft_token>", "<start_of_turn>", "<<SYS>>"),
        *("<IMAGE>", "<image_placeholder>", "<bos>", "<pad>"),
    ],
)
def test_marks_of_templates_in_answers(tmp_path, mark):
    assert placeholder(f"see {mark}") == mark
    with pytest.raises(FieldError, match="inside the text"):
        answer_text(f"see {mark} here", "chosen")


@pytest.mark.parametrize("text", ["<mask>left</mask>", "<answer>No</answer>", "<think>a</think>b"])
def test_marks_of_answers_are_none_of_templates(text):
    assert placeholder(text) == ""


def test_control_and_direction_characters_are_not_read(tmp_path):
    row = {key: f"a{HIDDEN}b{value}" for key, value in ROW.items()} | {"image": "a.png"}
    (read,) = read_jsonl(jsonl(tmp_path / "d", row | {"id": f"i{HIDDEN}d"}))
    assert read.case.case_id == "i[2Jd"
    assert read.case.reference == "a[2JbNo"
    (tmp_path / "p.json").write_text(json.dumps([pair(chosen=f"Yes{HIDDEN}.")]))
    import_data("mmedpo", str(tmp_path / "p.json"), tmp_path / "o.parquet")
    assert [p.chosen for p in read_pairs(tmp_path / "o.parquet")] == ["Yes[2J."]
    export_pairs(tmp_path / "o.parquet", "llama-factory", tmp_path / "o.json")
    assert not set(HIDDEN) - set("[2J") & set((tmp_path / "o.json").read_text())


@pytest.mark.parametrize("box", [[0.1, 0.2, 0.5, 0.6], [0.0, 0.25, 1.0, 1.0]])
def test_boxes_in_fractions_are_refused(tmp_path, box):
    row = ROW | {"regions": [{"label": "x", "box": box}]}
    with pytest.raises(DataError, match="fractions of the image"):
        read_jsonl(jsonl(tmp_path / "d", row))
