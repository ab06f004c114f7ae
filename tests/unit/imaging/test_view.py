"""Images at the size of their view: read small, with regions that still cover what they mark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medray.errors import ItemError
from medray.imaging.load import encode_png, load_image
from medray.imaging.regions import embed_mask, region_mask
from medray.imaging.view import View, load_noted_views, load_view, scale_note
from medray.records import Region

BICUBIC = Image.Resampling.BICUBIC


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A picture without detail below a twelfth of its size."""
    small = np.random.default_rng(0).integers(0, 256, (12, 12, channels), dtype=np.uint8)
    image = Image.fromarray(small.squeeze()).resize((width, height), BICUBIC)
    return np.asarray(image)


def write(path: Path, image: np.ndarray, **options) -> str:
    Image.fromarray(image).save(path, **options)
    return str(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "grey.png", "grey.jpg", "a.tif", "a.webp"])
def test_it_is_the_image_resized_as_processors_resize_it(name, tmp_path):
    image = smooth(900, 700, 1 if "grey" in name else 3)
    path = write(tmp_path / name, image, quality=95)
    view = load_view(path, lambda _: (90, 70), BICUBIC)
    assert view.size == (900, 700)
    expected = Image.fromarray(load_image(path)).resize((70, 90), BICUBIC)
    assert view.pixels.shape == (90, 70, 3)
    assert view.pixels.dtype == np.uint8
    assert np.abs(view.pixels.astype(int) - np.asarray(expected)).max() <= 3


def test_an_image_of_that_size_is_not_touched(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    view = load_view(write(tmp_path / "a.png", image), lambda size: size, BICUBIC)
    assert np.array_equal(view.pixels, image)
    regions = (Region("a", box=(1, 2, 3, 4)), Region("b", mask="gone.png"))
    assert view.regions(regions) == regions


def test_sizes_are_those_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    path = write(tmp_path / "a.jpg", smooth(400, 800), exif=exif, quality=95)
    requested: list[tuple[int, int]] = []
    view = load_view(path, lambda size: requested.append(size) or (80, 40), BICUBIC)
    assert requested == [(800, 400)] == [view.size]
    assert view.pixels.shape == (80, 40, 3)
    upright = Image.fromarray(load_image(path)).resize((40, 80), BICUBIC)
    assert np.abs(view.pixels.astype(int) - np.asarray(upright)).max() <= 4


def test_transparency_and_depth_are_as_in_the_image_itself(tmp_path):
    deep = (np.arange(600 * 400).reshape(600, 400) % 600 * 100).astype(np.uint16)
    glass = np.dstack([smooth(600, 400), np.full((600, 400), 128, np.uint8)])
    for name, image in (("deep.png", deep), ("glass.png", glass)):
        path = write(tmp_path / name, image)
        view = load_view(path, lambda _: (60, 40), BICUBIC)
        expected = Image.fromarray(load_image(path)).resize((40, 60), BICUBIC)
        assert np.abs(view.pixels.astype(int) - np.asarray(expected)).max() <= 4


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(0, 59), st.integers(0, 59)),
)
def test_the_regions_of_a_view_hold_whatever_the_image_marks(size, view, place):
    """One marked pixel, as a box and as a mask: the pixels of the view that lie over it."""
    y, x = min(place[0], size[0] - 1), min(place[1], size[1] - 1)
    marked = np.zeros(size, bool)
    marked[y, x] = True
    shown = View(np.zeros((*view, 3), np.uint8), size)
    regions = Region("a", box=(x, y, x + 1, y + 1)), Region("b", mask=embed_mask(marked))
    expected = np.outer(over(y, size[0], view[0]), over(x, size[1], view[1]))
    for region in shown.regions(regions):
        assert np.array_equal(region_mask([region], *view), expected)


def over(pixel: int, size: int, view: int) -> list[bool]:
    """Which of `view` pixels share more than an edge with one of `size` pixels."""
    return [i * size < (pixel + 1) * view and (i + 1) * size > pixel * view for i in range(view)]


@pytest.mark.parametrize(("name", "reason"), [("m.png", "mask-size"), ("no.png", "mask-missing")])
def test_a_mask_that_cannot_be_read_is_an_error_for_who_reads_it(name, reason, tmp_path):
    """Of another size than the image, or gone; the other regions are scaled."""
    (tmp_path / "m.png").write_bytes(encode_png(np.ones((20, 30), bool)))
    view = View(np.zeros((4, 4, 3), np.uint8), (40, 40))
    bad, box = Region("a", mask=str(tmp_path / name)), Region("b", box=(0, 0, 10, 20))
    kept, scaled = view.regions([bad, box])
    assert (kept, scaled.box) == (bad, (0, 0, 1, 2))
    with pytest.raises(ItemError) as caught:
        region_mask([kept], 4, 4)
    assert caught.value.reason == reason


@pytest.mark.parametrize("resample", [BICUBIC, Image.Resampling.BILINEAR])
def test_the_view_is_made_again_from_its_note(resample, tmp_path):
    path = write(tmp_path / "a.png", smooth(300, 200))
    first = load_view(path, lambda _: (50, 33), resample)
    note = f"gaussian sigma=45 found=nodule:0.75 {scale_note([first.pixels], resample)}"
    assert np.array_equal(load_noted_views([path], note)[0].pixels, first.pixels)
    assert load_noted_views([path], "gaussian sigma=45")[0].pixels.shape == (300, 200, 3)
