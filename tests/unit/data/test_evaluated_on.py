"""`eval.data`: which cases of another dataset are evaluated."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from medray.config import Config, DataConfig, EvalConfig
from medray.data.dataset import evaluated_on, open_dataset
from medray.errors import DataError
from medray.plan import open_data


def dataset(folder, colours, splits):
    folder.mkdir()
    rows = []
    for i, (colour, split) in enumerate(zip(colours, splits, strict=True)):
        Image.new("RGB", (8, 8), (colour, 0, 0)).save(folder / f"{i}.png")
        row = {"id": f"{folder.name}-{i}", "image": f"{i}.png", "question": "Q?", "answer": "Yes"}
        rows.append(row | ({"split": split} if split else {}))
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataConfig(kind="jsonl", path=str(folder))


@pytest.fixture
def own(tmp_path):
    return dataset(tmp_path / "own", [1, 2, 3], ["train", "train", "heldout"])


def test_all_cases_of_a_dataset_without_a_split(own, tmp_path):
    other = dataset(tmp_path / "other", [4, 5, 6], [None] * 3)
    config = Config(data=own, eval=EvalConfig(data=other))
    _, found = open_data(config)
    assert sorted(case.case_id for case in found.heldout) == ["other-0", "other-1", "other-2"]
    assert found.train == open_dataset(own).train
    assert "evaluated on jsonl: 3 cases over 3 images" in found.notes


def test_the_held_out_part_of_one_with_a_split(own, tmp_path):
    other = dataset(tmp_path / "other", [4, 5, 6], ["train", "test", "test"])
    found = evaluated_on(open_dataset(own), other)
    assert sorted(case.case_id for case in found.heldout) == ["other-1", "other-2"]


def test_a_dataset_of_held_out_cases_only(own, tmp_path):
    other = dataset(tmp_path / "other", [4, 5], ["test", "test"])
    assert len(evaluated_on(open_dataset(own), other).heldout) == 2


def test_images_that_are_trained_on_are_told(own, tmp_path):
    other = dataset(tmp_path / "other", [1, 5], [None, None])
    notes = evaluated_on(open_dataset(own), other).notes
    assert notes[-1] == "leak: 1 of these images are also in training"


def test_no_case_to_evaluate_on_is_refused(own, tmp_path):
    other = dataset(tmp_path / "other", [4, 5], ["train", "train"])
    with pytest.raises(DataError, match=r"holds no case to evaluate on.*eval\.data"):
        evaluated_on(open_dataset(own), other)
