"""`medray corrupt`: one file in, one PNG out, and clear errors."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from medray.cli import app
from medray.errors import DataError
from medray.imaging.corrupt_files.corrupt_file import corrupt_file
from medray.imaging.corrupt_files.sheet import TILE, write_sheet
from medray.imaging.kinds import KINDS
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


def test_a_mask_and_the_whole_image(image, tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[3, 4] = True
    (tmp_path / "mask.png").write_bytes(encode_png(mask))
    spot = corrupt_file(image, tmp_path / "a.png", mask=tmp_path / "mask.png", kind="black")
    assert (spot.image == 0).sum() == 3
    assert spot.region_source == "mask"
    everywhere = corrupt_file(image, tmp_path / "b.png")
    assert (everywhere.kind, everywhere.region_source) == ("gaussian sigma=12", "whole-image")
    assert corrupt_file(image, tmp_path / "b.png", sigma=3.0).kind == "gaussian sigma=3"


def test_every_kind_and_its_parameters(image, tmp_path):
    for kind, options, description in (
        ("diffusion", {"step": 100, "feather": 2}, "diffusion step=100 feather=2"),
        ("replacement", {"sigma": 20.0}, "replacement sigma=20"),
        ("blur", {"sigma": 2.0}, "blur sigma=2"),
        ("inpaint", {}, "inpaint"),
        ("crop", {"crop_scale": (1.0, 1.0)}, "crop box="),
    ):
        result = corrupt_file(image, tmp_path / "o.png", box=(5, 5, 15, 10), kind=kind, **options)
        assert result.kind.startswith(description)
        assert np.array_equal(load_image(tmp_path / "o.png"), result.image)


def test_a_sheet_shows_every_kind_of_every_image(image, tmp_path):
    boxes = [(5, 5, 15, 10), (0, 0, 30, 20)]  # the second leaves nothing to inpaint from
    for name in ("sheet.png", "sheet.jpg"):
        assert write_sheet([image, image], tmp_path / name, boxes=boxes, feather=2) == 2
        assert load_image(tmp_path / name).shape == (16 + 2 * TILE, (1 + len(KINDS)) * TILE, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "1 images, 0 masks, 0 boxes — give one --mask or --box per image"),
        ({"boxes": [(0, 0, 1, 1)] * 2}, "1 images, 0 masks, 2 boxes"),
        ({"boxes": [(0, 0, 1, 1)], "out": "sheet.gif"}, "not a .png or .jpg"),
        ({"boxes": [(0, 0, 1, 1)], "out": "in.png"}, "is also an input"),
        ({"boxes": [(0, 0, 1, 1)], "step": 0}, "--step 0"),
        ({"boxes": [(90, 0, 99, 1)]}, "marks no pixel"),
    ],
)
def test_impossible_sheets_are_refused(image, tmp_path, changes, message):
    arguments = {"out": "sheet.png", **changes}
    arguments["out"] = tmp_path / arguments["out"]
    with pytest.raises(DataError) as caught:
        write_sheet([image], **arguments)
    assert message in str(caught.value)


def test_the_same_seed_gives_the_same_file(image, tmp_path):
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        corrupt_file(image, tmp_path / f"{name}.png", seed=seed)
        files.append((tmp_path / f"{name}.png").read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "gone.png"}, "gone.png: no such file: image-missing — give another file"),
        ({"kind": "pink"}, "--kind pink: unknown kind — one of gaussian, diffusion, replacement"),
        ({"kind": "black", "sigma": 3.0}, "--sigma 3: black has none"),
        ({"kind": "diffusion", "step": 1001}, "--step 1001"),
        ({"kind": "crop", "crop_scale": (0.5, 0.2)}, "crop_scale"),
        ({"feather": -1}, "--feather -1"),
        ({"kind": "inpaint"}, "the region is the whole image"),
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
def test_errors_are_one_line_and_leave_no_file(image, tmp_path, changes, message):
    (tmp_path / "small.png").write_bytes(encode_png(np.ones((2, 2), bool)))
    arguments = {"image": "in.png", "out": "out.png", **changes}
    names = [key for key in ("image", "out", "mask") if key in arguments]
    paths = {key: tmp_path / arguments[key] for key in names}
    with pytest.raises(DataError) as caught:
        corrupt_file(**{**arguments, **paths})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.png").exists()


def test_the_command_line(image, tmp_path):
    out, sheet = tmp_path / "o.png", tmp_path / "s.jpg"
    command = ["corrupt", str(image), "--box", "5,5,15,10"]
    options = ["--kind", "diffusion", "--step", "10", "--feather", "1", "-o", str(out)]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.output == f"{out}: diffusion step=10 feather=1\n"
    options = ["--kind", "crop", "--crop-scale", "0.5", "0.5", "-o", str(out)]
    assert "crop box=" in CliRunner().invoke(app, [*command, *options]).output
    second = [str(image), "--box", "0,0,9,9", "--kind", "all", "-o", str(sheet)]
    assert CliRunner().invoke(app, [*command, *second]).output == f"{sheet}: every kind\n"
    assert load_image(sheet).shape[0] == 16 + 2 * TILE
    refused = CliRunner().invoke(app, [*command, str(image), "-o", str(out)])
    assert "give one, or --kind all" in str(refused.exception)
