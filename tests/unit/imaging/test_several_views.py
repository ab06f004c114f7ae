"""v' of cases with several images: which of them are corrupted, and how it is written down."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medray.config import CorruptionConfig
from medray.imaging.corruption import corrupt, corrupt_images
from medray.imaging.load import encode_png
from medray.imaging.view import View, case_regions, corrupt_views, load_noted_views
from medray.records import Region

GREY = [np.full((24, 32, 3), 90, np.uint8), np.full((16, 16, 3), 160, np.uint8)]
FIRST, SECOND = Region("a", box=(2, 2, 8, 8)), Region("b", box=(1, 1, 6, 6), image=1)


def changed(regions, **settings) -> list[bool]:
    made = corrupt_images(GREY, regions, CorruptionConfig(**settings), seed=3)
    return [] if made is None else [image is not None for image in made.images]


@pytest.mark.parametrize(
    ("region", "without"),
    [("lesion", []), ("lesion-or-whole", [True, True]), ("lesion-or-saliency", [])],
)
def test_the_images_with_a_region_are_corrupted_and_no_others(region, without):
    assert changed([SECOND], region=region) == [False, True]
    assert changed([FIRST], region=region) == [True, False]
    assert changed([FIRST, SECOND], region=region) == [True, True]
    assert changed([], region=region) == without


def test_whole_is_all_images_and_none_is_none():
    assert changed([SECOND], region="whole") == [True, True]
    assert changed([SECOND], region="none") == []
    assert changed([SECOND], kind="crop", region="lesion") == [False, True]


@pytest.mark.parametrize("region", ["lesion", "lesion-or-whole", "whole", "none"])
@pytest.mark.parametrize("regions", [[], [FIRST]])
def test_one_image_is_corrupted_as_before(region, regions):
    config = CorruptionConfig(region=region, feather=2)
    one = corrupt(GREY[0], regions, config, seed=5)
    made = corrupt_images(GREY[:1], regions, config, seed=5)
    if one is None:
        assert made is None
        return
    assert (made.kind, made.region_source, made.sha256) == (one.kind, one.region_source, one.sha256)
    assert np.array_equal(made.images[0].image, one.image)


def test_two_images_of_one_case_get_noise_of_their_own():
    twice = [GREY[0], GREY[0]]
    made = corrupt_images(twice, [], CorruptionConfig(region="whole"), seed=5)
    assert not np.array_equal(*(image.image for image in made.images))
    again = corrupt_images(twice, [], CorruptionConfig(region="whole"), seed=5)
    assert made.sha256 == again.sha256


def test_the_note_says_which_images_and_their_sizes(tmp_path):
    paths = []
    for number, image in enumerate(GREY):
        paths.append(str(tmp_path / f"{number}.png"))
        (tmp_path / f"{number}.png").write_bytes(encode_png(np.repeat(image, 2, axis=0)))
    config, bilinear = CorruptionConfig(region="lesion"), Image.Resampling.BILINEAR
    made = corrupt_views(GREY, [SECOND], config, seed=0, resample=bilinear)
    assert made.kind == "gaussian sigma=45 image=1 at=32x24,16x16/bilinear"
    views = load_noted_views(paths, made.kind)
    assert [view.pixels.shape for view in views] == [image.shape for image in GREY]
    assert load_noted_views(paths, "gaussian sigma=45")[0].pixels.shape == (48, 32, 3)


def test_regions_are_scaled_by_the_view_of_their_image():
    small = [View(GREY[0], (48, 64)), View(GREY[1], (16, 16))]
    first, second = case_regions(small, [FIRST, SECOND])
    assert (first.box, first.image) == ((1, 1, 4, 4), 0)
    assert second == SECOND
