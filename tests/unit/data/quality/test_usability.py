"""What `medray check` and `medray launch` say of cases that cannot be used, before they start."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from medray.config import DataConfig
from medray.data.dataset import open_dataset
from medray.data.quality import with_usability
from medray.errors import DataError

ROW = {"question": "Is there a nodule?", "answer": "No"}


def opened(folder, images, **changes):
    """A dataset with a row per image, the last one held out."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (64, 48)).save(folder / "good.png")
    rows = [
        ROW | {"image": image, "split": "train" if i < len(images) - 1 else "test"} | changes
        for i, image in enumerate(images)
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return open_dataset(DataConfig(kind="jsonl", path=str(folder)))


def notes(dataset, *, references=True):
    return " | ".join(with_usability(dataset, "data", references=references).notes)


def test_a_good_dataset_needs_no_note(tmp_path):
    dataset = opened(tmp_path / "d", ["good.png"] * 3)
    assert with_usability(dataset, "data", references=True) == dataset


def test_unusable_cases_are_counted_by_reason(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "page.png").write_text("<!DOCTYPE html>")
    (folder / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1")
    images = ["gone.png", "gone2.png", "page.png", "lfs.png", "good.png", "good.png"]
    text = notes(opened(folder, images))
    assert "4 of 5 training cases cannot be used and will be dropped: image-missing 2" in text
    assert "image-unreadable (is an HTML page: the download failed) 1" in text
    assert "a Git LFS pointer" in text
    assert str(tmp_path) not in text.split("|", 1)[1]


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        ("imgs\\a.png", "a path of Windows"),
        ("C:\\data\\a.png", "a path of Windows"),
        ("https://host/a.png", "no URLs"),
        ("~/a.png", "~ is not expanded"),
        ("GOOD.PNG", "upper and lower case"),
        ("gone.png", "image-missing 2"),
    ],
)
def test_a_side_without_a_usable_case_is_refused_with_a_hint(tmp_path, image, hint):
    dataset = opened(tmp_path / "d", [image, image, "good.png"])
    with pytest.raises(DataError, match="no training case can be used: image-missing 2") as caught:
        notes(dataset)
    assert hint in str(caught.value)
    dataset = opened(tmp_path / "d", ["good.png", image])
    with pytest.raises(DataError, match="no held-out case can be used"):
        notes(dataset)


@pytest.mark.parametrize("answer", ["", None, float("nan"), "see <image>"])
def test_references_are_needed_to_train(tmp_path, answer):
    dataset = opened(tmp_path / "d", ["good.png"] * 3, answer=answer)
    with pytest.raises(DataError, match=r"no training case can be used: (empty|placeholder)"):
        notes(dataset)
    assert "cannot be used" not in notes(dataset, references=False)


def test_boxes_that_do_not_fit_are_counted(tmp_path):
    regions = [
        {"label": "in", "box": [1, 2, 60, 40]},
        {"label": "beyond", "box": [10, 10, 500, 400]},
        {"label": "out", "box": [100, 100, 200, 200]},
    ]
    text = notes(opened(tmp_path / "d", ["good.png"] * 3, regions=regions))
    assert "2 of 6 boxes of training cases lie outside their image, 2 reach beyond it" in text


def test_masks_that_mark_nearly_all_or_nothing_are_counted(tmp_path):
    """A lesion drawn black on white marks everything else; nobody can tell it from a large one."""
    folder = tmp_path / "d"
    folder.mkdir()
    mask = Image.new("L", (64, 48), 255)
    mask.paste(0, (10, 10, 20, 20))
    mask.save(folder / "white.png")
    Image.new("L", (64, 48)).save(folder / "black.png")
    regions = [{"label": "a", "mask": "white.png"}, {"label": "b", "mask": "black.png"}]
    text = notes(opened(folder, ["good.png"] * 3, regions=regions))
    assert "2 of 4 masks of training cases mark more than half of their image" in text
    assert "is their background white?" in text
    assert "2 of 4 masks of training cases mark nothing" in text
