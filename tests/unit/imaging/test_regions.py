"""Regions become masks: union, clipping, palettes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medray.errors import ItemError
from medray.imaging.regions import labelled, mask_outline, region_mask, soft_mask
from medray.records import Region


def mask_file(path, mode: str, values: dict[tuple[int, int], object]) -> str:
    """A 4 x 3 image in which only the given (x, y) pixels are not zero."""
    image = Image.new(mode, (4, 3))
    for position, value in values.items():
        image.putpixel(position, value)
    image.save(path)
    return str(path)


def test_union_of_box_and_mask(tmp_path):
    mask = mask_file(tmp_path / "m.png", "L", {(3, 2): 1})
    union = region_mask([Region("a", box=(0, 0, 2, 1)), Region("b", mask=mask)], 3, 4)
    assert union.tolist() == [[True, True, False, False], [False] * 4, [False] * 3 + [True]]


def test_box_is_clipped_to_the_image():
    assert region_mask([Region("a", box=(-5, -5, 1, 99))], 3, 4).sum() == 3


@pytest.mark.parametrize("box", [(10, 10, 20, 20), (-9, 0, -1, 3), (2, 2, 2, 3)])
def test_without_marked_pixels_the_mask_is_none(tmp_path, box):
    empty = mask_file(tmp_path / "m.png", "L", {})
    assert region_mask([], 3, 4) is None
    assert region_mask([Region("a", box=box), Region("b", mask=empty)], 3, 4) is None


@pytest.mark.parametrize(
    ("mode", "background", "value"),
    [
        ("1", 0, 1),
        ("P", 0, 3),
        ("I;16", 0, 70),
        ("RGB", (0, 0, 0), (0, 0, 9)),
        ("RGBA", (0, 0, 0, 255), (9, 0, 0, 255)),
        ("LA", (0, 255), (9, 255)),
    ],
)
def test_any_mode_counts_non_zero_pixels_and_never_opacity(tmp_path, mode, background, value):
    image = Image.new(mode, (4, 3), background)
    image.putpixel((1, 2), value)
    image.save(tmp_path / "m.png")
    marked = region_mask([Region("a", mask=str(tmp_path / "m.png"))], 3, 4)
    assert np.argwhere(marked).tolist() == [[2, 1]]


@pytest.mark.parametrize("mode", ["P", "L", "I;16"])
def test_one_value_of_a_mask(tmp_path, mode):
    image = Image.new(mode, (4, 3), 0)
    if mode == "P":
        image.putpalette([0, 0, 0] * 256)  # all black: the value counts, not its colour
    image.putpixel((1, 2), 3)
    image.putpixel((2, 2), 9)
    image.save(tmp_path / "m.png")
    name = f"{tmp_path / 'm.png'}#"
    assert np.argwhere(region_mask([Region("a", mask=name + "9")], 3, 4)).tolist() == [[2, 2]]
    assert region_mask([Region("a", mask=name + "0")], 3, 4).sum() == 10
    assert region_mask([Region("a", mask=name + "7")], 3, 4) is None
    regions = [Region("a", mask=name + "9"), Region("b", mask=name + "3")]
    assert region_mask(regions, 3, 4).sum() == 2


def test_a_file_of_that_name_takes_precedence_over_a_value(tmp_path):
    mask_file(tmp_path / "m.png", "L", {(0, 0): 9})
    other = mask_file(tmp_path / "o.png", "L", {(1, 0): 1, (2, 0): 2})
    renamed = Path(other).rename(tmp_path / "m.png#9")
    assert region_mask([Region("a", mask=str(renamed))], 3, 4).sum() == 2


def test_colour_masks_have_no_values(tmp_path):
    Image.new("RGB", (4, 3), (0, 0, 9)).save(tmp_path / "m.png")
    with pytest.raises(ItemError) as caught:
        region_mask([Region("a", mask=f"{tmp_path / 'm.png'}#9")], 3, 4)
    assert (caught.value.reason, caught.value.what) == (
        "mask-unreadable",
        "m.png#9: its pixels are colours, not values",
    )


def test_refused_masks(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    right = mask_file(tmp_path / "m.png", "L", {(0, 0): 1})
    for path, size, reason in (
        (right, (4, 3), "mask-size"),
        (str(tmp_path / "gone.png"), (3, 4), "mask-missing"),
        (str(tmp_path / "text.png"), (3, 4), "mask-unreadable"),
    ):
        with pytest.raises(ItemError) as caught:
            region_mask([Region("a", mask=path)], *size)
        assert caught.value.reason == reason


def test_the_outline_includes_the_image_border():
    mask = np.zeros((6, 6), bool)
    mask[:4, 1:5] = True
    outline = mask_outline(mask)
    expected = mask.copy()
    expected[1:3, 2:4] = False
    assert np.array_equal(outline, expected)


def test_labels_must_be_equal_ignoring_case():
    regions = [Region("Left Lung"), Region("lung "), Region("")]
    assert labelled(regions, None) == tuple(regions)
    assert [region.label for region in labelled(regions, ["LUNG", "liver"])] == ["lung "]
    assert labelled(regions, ["liver"]) == ()


def test_a_soft_mask_falls_linearly_and_ends_at_the_border():
    mask = np.zeros((5, 9), bool)
    mask[2, 0] = True
    soft = soft_mask(mask, 3)
    assert soft[2].tolist() == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert soft[0, 3] == 0  # √13 away
    assert soft[3, 1] == pytest.approx(1 - 2**0.5 / 4)
    assert np.array_equal(soft_mask(mask, 0), mask)
