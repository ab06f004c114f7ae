"""VQA-RAD as distributed: all of it, its oddities, and other folders."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from medray.config import DataConfig
from medray.data.dataset import open_dataset, read_rows
from medray.data.readers.vqa_rad import IMAGE_FOLDER, JSON_NAME
from medray.data.splits import leaks
from medray.errors import DataError

ITEM = {
    "qid": 7,
    "phrase_type": "freeform",
    "image_name": "a.jpg",
    "question": " Is there\n a  mass? ",
    "answer": "Yes",
    "answer_type": "CLOSED ",
}


def read_vqa_rad(path):
    return list(read_rows("vqa-rad", path))


def folder(tmp_path, content) -> str:
    (tmp_path / IMAGE_FOLDER).mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / JSON_NAME).write_text(text)
    return str(tmp_path)


def vqa_rad(shared_data, **values) -> DataConfig:
    return DataConfig(kind="vqa-rad", path=str(shared_data / "vqa_rad"), **values)


@pytest.mark.data
def test_all_of_vqa_rad(shared_data):
    rows = read_vqa_rad(str(shared_data / "vqa_rad"))
    cases = [row.case for row in rows]
    assert len(rows) == 2248
    assert len({case.image_sha256 for case in cases} - {""}) == 314
    assert Counter(case.answer_type for case in cases) == {"closed": 1299, "open": 949}
    assert Counter(row.split for row in rows) == {"train": 1797, "heldout": 451}
    assert {(case.source, case.licence) for case in cases} == {("vqa-rad", "CC0-1.0")}
    assert all(case.question == " ".join(case.question.split()) for case in cases)
    assert cases[0].case_id == "vqa-rad-0"
    assert all(case.reference for case in cases)


@pytest.mark.data
def test_case_ids_are_the_real_qids_and_numbers_are_text(shared_data):
    items = json.loads((shared_data / "vqa_rad" / JSON_NAME).read_text())
    references = {row.case.case_id: row.case for row in read_vqa_rad(str(shared_data / "vqa_rad"))}
    for item in items:
        case = references[f"vqa-rad-{item['qid']}"]
        assert case.image.endswith(f"/{item['image_name']}")
        if isinstance(item["answer"], int):
            assert case.reference == str(item["answer"])
    assert sum(isinstance(item["answer"], int) for item in items) == 5


@pytest.mark.data
def test_official_split_and_its_leak(shared_data):
    data = open_dataset(vqa_rad(shared_data, split="official"))
    assert (len(data.train), len(data.heldout)) == (1797, 451)
    assert len({case.image_sha256 for case in data.heldout}) == 203
    assert len(leaks(data.train, data.heldout)) == 202
    assert "leak: 202 of 203 held-out images are also in training" in " ".join(data.notes)


@pytest.mark.data
@pytest.mark.parametrize("split", ["image", "patient", "study"])
@pytest.mark.parametrize("seed", [0, 1])
def test_group_splits_leak_nothing(shared_data, split, seed):
    data = open_dataset(vqa_rad(shared_data, split=split, seed=seed))
    assert leaks(data.train, data.heldout) == []
    assert len(data.train) + len(data.heldout) == 2248
    notes = " ".join(data.notes)
    assert "held-out images are also in training" not in notes
    if split != "image":  # some MedPix cases have several images
        assert "leak" not in notes
    if split == "image":
        assert len({case.image_sha256 for case in data.heldout}) == 63  # a fifth of 314
    else:
        sides = [{case.patient_id for case in side} for side in (data.train, data.heldout)]
        assert not sides[0] & sides[1]


def test_oddities(tmp_path):
    items = [
        ITEM,
        {**ITEM, "qid": "8", "answer": 3, "answer_type": "OPEN", "phrase_type": "test_para"},
        {**ITEM, "qid": 9, "answer": None},
        {**ITEM, "qid": 10, "answer": "  "},
    ]
    rows = read_vqa_rad(folder(tmp_path, items))
    cases = [row.case for row in rows]
    assert cases[0].question == "Is there a mass?"
    assert [case.case_id for case in cases] == [f"vqa-rad-{qid}" for qid in (7, 8, 9, 10)]
    assert [case.reference for case in cases] == ["Yes", "3", "", ""]
    assert [row.split for row in rows] == ["train", "heldout", "train", "train"]
    assert cases[1].answer_type == "open"
    assert (
        cases[0].image_sha256 == ""
    )  # the image is missing: its case is dropped when it is issued


def test_images_that_cannot_be_read_are_noted(tmp_path):
    items = [{**ITEM, "qid": i, "image_name": f"{i}.jpg"} for i in range(5)]
    data = open_dataset(DataConfig(kind="vqa-rad", path=folder(tmp_path, items)))
    assert (len(data.train), len(data.heldout)) == (4, 1)
    assert data.notes[-1] == "5 images cannot be read; their cases will be dropped"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{]", "is not valid JSON"),
        ({"a": 1}, "is not a list of questions"),
        (["text"], "item 0: is not a mapping"),
        ([ITEM, {k: v for k, v in ITEM.items() if k != "answer"}], "item 1: has no key 'answer'"),
        ([{**ITEM, "question": ["a"]}], "item 0: question: is not a text or number"),
        ([{**ITEM, "question": "NULL"}], "item 0: question: is empty"),
        ([{**ITEM, "answer_type": "both"}], "answer_type = 'BOTH': not CLOSED or OPEN"),
        ([ITEM, {**ITEM, "qid": "7"}], "item 1: qid = 7: occurs twice"),
        ([], "holds no case"),
    ],
)
def test_other_content_gives_a_one_line_error(tmp_path, content, message):
    with pytest.raises(DataError) as caught:
        open_dataset(DataConfig(kind="vqa-rad", path=folder(tmp_path, content)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_of_wrong_folders_name_the_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"data\.path: not given for kind vqa-rad"):
        read_vqa_rad(None)
    with pytest.raises(DataError, match="gone: no such file or folder"):
        read_vqa_rad(str(tmp_path / "gone"))
    with pytest.raises(DataError, match=f"not VQA-RAD: no '{JSON_NAME}' in it"):
        read_vqa_rad(str(tmp_path))
    (tmp_path / JSON_NAME).write_text("[]")
    with pytest.raises(DataError, match=f"not VQA-RAD: no '{IMAGE_FOLDER}' in it"):
        read_vqa_rad(str(tmp_path))
