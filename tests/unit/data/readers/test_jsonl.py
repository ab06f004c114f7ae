"""Rows of a .jsonl file: every field, its defaults, and errors naming line and field."""

from __future__ import annotations

import hashlib
import json

import pytest

from medray.config import DataConfig
from medray.data.dataset import open_dataset, read_rows
from medray.data.readers.jsonl import read_phantom
from medray.data.splits import leaks
from medray.errors import DataError
from medray.records import Region

ROW = {"id": "a", "image": "a.png", "question": "Is there a nodule?", "answer": "Yes."}


def read_jsonl(path):
    return list(read_rows("jsonl", path))


def write(tmp_path, *rows) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    return str(tmp_path)


def test_every_field(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"bytes")
    full = {
        "id": "study-1/report",
        "image": "images/a.png",
        "question": "Describe  the image.",
        "answer": "A nodule\nin the left zone.",
        "answer_type": "report",
        "split": "train",
        "regions": [
            {"label": "nodule", "box": [10, 12, 20, 24], "source": "phantom"},
            {"label": "mass", "mask": "masks/m.png"},
        ],
        "truth": {"side": "left", "size_mm": 12, "calcified": False},
        "patient_id": "p1",
        "study_id": "s1",
        "source": "phantom",
        "licence": "CC0-1.0",
    }
    (row,) = read_jsonl(write(tmp_path, full))
    case = row.case
    assert case.case_id == "study-1/report"
    assert case.image == str(tmp_path / "images" / "a.png")
    assert case.image_sha256 == hashlib.sha256(b"bytes").hexdigest()
    assert (case.question, case.reference) == ("Describe the image.", "A nodule in the left zone.")
    assert case.answer_type == "report"
    assert case.regions == (
        Region("nodule", box=(10, 12, 20, 24), source="phantom"),
        Region("mass", mask=str(tmp_path / "masks" / "m.png")),
    )
    assert case.truth == (("side", "left"), ("size_mm", "12"), ("calcified", "no"))
    assert (row.split, row.study_id, case.patient_id) == ("train", "s1", "p1")
    assert (case.source, case.licence) == ("phantom", "CC0-1.0")
    assert "p1" not in repr(case)


@pytest.mark.parametrize(
    ("answer", "given", "expected"),
    [
        ("Yes.", None, "closed"),
        ("no", "", "closed"),
        ("no nodule", None, "open"),
        ("", None, "open"),
        (3, None, "open"),
        ("left", "CLOSED", "closed"),
    ],
)
def test_answer_types(tmp_path, answer, given, expected):
    (row,) = read_jsonl(write(tmp_path, {**ROW, "answer": answer, "answer_type": given}))
    assert row.case.answer_type == expected


def test_missing_ids_blank_lines_and_a_bom_are_accepted(tmp_path):
    row = {key: value for key, value in ROW.items() if key != "id"}
    path = tmp_path / "set" / "mine.jsonl"
    path.parent.mkdir()
    text = f"{json.dumps(row)}\n\n{json.dumps(row)}\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [row.case.case_id for row in read_jsonl(str(path))] == ["row-1", "row-3"]


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    line = json.dumps({**ROW, "answer": "left\u2028upper"}, ensure_ascii=False)
    (row,) = read_jsonl(write(tmp_path, line))
    assert row.case.reference == "left upper"


def test_fractional_boxes_are_enlarged_to_whole_pixels(tmp_path):
    (row,) = read_jsonl(write(tmp_path, {**ROW, "regions": [{"box": [-0.5, 1.2, 3.0, 4.1]}]}))
    assert row.case.regions == (Region("", box=(-1, 1, 3, 5)),)


def test_masks_take_precedence_over_their_bounding_boxes(tmp_path):
    boxes = [{"label": "hull", "xyxy": [1, 2, 3, 4]}]
    rows = read_jsonl(
        write(
            tmp_path,
            {**ROW, "id": "1", "label": "exudate", "mask": ["m.png"], "boxes": boxes},
            {**ROW, "id": "2", "label": {"hull": 1}, "boxes": boxes},
            {**ROW, "id": "3", "label": ["x", "y"], "mask": ["m.png", "n.png"]},
        )
    )
    mask = str(tmp_path / "m.png")
    assert rows[0].case.regions == (Region("exudate", mask=mask),)
    assert rows[1].case.regions == (Region("hull", box=(1, 2, 3, 4)),)
    assert [region.label for region in rows[2].case.regions] == ["x", "y"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": 3}, "records.jsonl:2: image: is not a text"),
        ({"image": " "}, "records.jsonl:2: image: is not a text, or empty"),
        ({"question": None}, "records.jsonl:2: question"),
        ({"answer": ["yes"]}, "records.jsonl:2: answer: is not a text or number"),
        ({"answer_type": "maybe"}, "answer_type: 'maybe' is not one of report, closed, open"),
        ({"split": "dev"}, "split: 'dev' is not one of train, heldout, test, validation"),
        ({"id": "a"}, "records.jsonl:2: id = 'a': is also on line 1"),
        ({"id": {"a": 1}}, "records.jsonl:2: id"),
        ({"patient_id": [1]}, "records.jsonl:2: patient_id"),
        ({"truth": ["side"]}, "truth: is not a mapping"),
        ({"truth": {"side": ["left"]}}, "truth.side: is not a text or number"),
        ({"regions": {"box": [0, 0, 1, 1]}}, "regions: is not a list"),
        ({"regions": ["all"]}, "regions[0]: is not a mapping"),
        ({"regions": [{"label": "x"}]}, "regions[0]: needs a box or a mask, and not both"),
        ({"regions": [{"box": [0, 0, 1, 1], "mask": "m.png"}]}, "regions[0]: needs a box or"),
        ({"regions": [{"box": [0, 0, 1]}]}, "regions[0].box: is not [x0, y0, x1, y1]"),
        ({"regions": [{"box": [0, 0, 1, True]}]}, "regions[0].box: is not [x0, y0, x1, y1]"),
        ({"regions": [{"box": [5, 0, 5, 9]}]}, "regions[0].box: is empty"),
        ({"regions": [{"box": [-9, 0, -5, 9]}]}, "regions[0].box: lies outside"),
        ({"regions": [{"mask": 3}]}, "regions[0].mask: is not the path"),
        ({"boxes": [{"label": "x"}]}, "boxes[0]: has no xyxy"),
        ({"mask": [3]}, "mask[0]: is not the path"),
    ],
)
def test_errors_name_file_line_and_field(tmp_path, change, message):
    with pytest.raises(DataError) as caught:
        read_jsonl(write(tmp_path, ROW, {**ROW, "id": "b", **change}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["image", "question", "answer"])
def test_missing_fields(tmp_path, key):
    row = {name: value for name, value in ROW.items() if name != key}
    with pytest.raises(DataError, match=rf"records\.jsonl:1: {key}: is missing"):
        read_jsonl(write(tmp_path, row))


def test_files_that_are_not_a_dataset(tmp_path):
    with pytest.raises(DataError, match=r"no records\.jsonl in it"):
        read_jsonl(str(tmp_path))
    with pytest.raises(DataError, match=r"records\.jsonl:2: is not valid JSON"):
        read_jsonl(write(tmp_path, ROW, '{"id": '))
    with pytest.raises(DataError, match=r"records\.jsonl:1: is not a JSON object"):
        read_jsonl(write(tmp_path, [ROW]))
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_jsonl(str(tmp_path))
    for path in (None, str(tmp_path / "gone")):
        with pytest.raises(DataError, match="write one: medray phantom write DIR"):
            read_phantom(path)


@pytest.mark.data
def test_real_datasets_are_read_unchanged(shared_data):
    lesions = read_jsonl(str(shared_data / "lesions"))
    regions = {region for row in lesions for region in row.case.regions}
    assert len(lesions) == 78
    assert len({region.mask for region in regions if region.mask}) == 54
    assert len({r.case.image for r in lesions if any(x.box for x in r.case.regions)}) == 14
    for name in ("lesions", "nih_cxr"):
        data = open_dataset(DataConfig(kind="jsonl", path=str(shared_data / name)))
        assert leaks(data.train, data.heldout) == []
        assert all(case.image_sha256 for case in (*data.train, *data.heldout))
