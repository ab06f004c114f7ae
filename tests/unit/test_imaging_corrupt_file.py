"""`medray corrupt`: one file in, one PNG out, and plain words for what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from medray.errors import DataError
from medray.imaging.corrupt_file import corrupt_file
from medray.imaging.load import encode_png, load_image


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "in.png"
    path.write_bytes(encode_png(np.full((20, 30, 3), 128, np.uint8)))
    return path


def test_box(image, tmp_path):
    out = tmp_path / "out.png"
    result = corrupt_file(image, out, box=(5, 5, 15, 10), seed=1)
    assert np.array_equal(load_image(out), result.image)
    assert (result.kind, result.region_source) == ("gaussian sigma=45", "box")
    changed = np.argwhere((result.image != 128).any(axis=2))
    assert changed.min(axis=0).tolist() == [5, 5]
    assert changed.max(axis=0).tolist() == [9, 14]


def test_mask_and_whole(image, tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[3, 4] = True
    (tmp_path / "mask.png").write_bytes(encode_png(mask))
    spot = corrupt_file(image, tmp_path / "a.png", mask=tmp_path / "mask.png", kind="black")
    assert (spot.image == 0).sum() == 3
    assert spot.region_source == "mask"
    whole = corrupt_file(image, tmp_path / "b.png")
    assert (whole.kind, whole.region_source) == ("gaussian sigma=12", "whole-image")
    assert corrupt_file(image, tmp_path / "b.png", sigma=3.0).kind == "gaussian sigma=3"


def test_same_seed_same_file(image, tmp_path):
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        corrupt_file(image, tmp_path / f"{name}.png", seed=seed)
        files.append((tmp_path / f"{name}.png").read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image": "gone.png"}, "gone.png: no such file: image-missing — give another file"),
        ({"kind": "crop"}, "--kind crop: unknown kind — one of gaussian, black, blur"),
        ({"sigma": 0.0}, "--sigma 0"),
        ({"sigma": float("nan")}, "--sigma nan"),
        ({"box": (99, 99, 120, 120)}, "the image has 30x20 px"),
        ({"box": (5, 5, 5, 9)}, "--box 5,5,5,9: marks no pixel"),
        ({"mask": "small.png"}, "small.png: 2x2 px, the image has 30x20: mask-size"),
        ({"mask": "in.png", "box": (0, 0, 1, 1)}, "both given"),
        ({"out": "out.jpg"}, "other formats change pixels"),
        ({"out": "in.png"}, "is also an input"),
        ({"out": "folder/out.png"}, "No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(image, tmp_path, changes, told):
    (tmp_path / "small.png").write_bytes(encode_png(np.ones((2, 2), bool)))
    given = {"image": "in.png", "out": "out.png", **changes}
    paths = {key: tmp_path / given[key] for key in ("image", "out", "mask") if key in given}
    with pytest.raises(DataError) as caught:
        corrupt_file(**{**given, **paths})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.png").exists()
