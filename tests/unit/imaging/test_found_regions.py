"""v' from what a localiser found: masks without files, and which regions count."""

from __future__ import annotations

import numpy as np
import pytest

from medray.config import CorruptionConfig
from medray.errors import ItemError
from medray.imaging.corruption import corrupt
from medray.imaging.regions import EMBEDDED, embed_mask, read_mask
from medray.records import Region

GREY = np.full((40, 60, 3), 128, np.uint8)
DISC = np.hypot(*np.ogrid[-20:20, -30:30]) < 8
GIVEN = Region("nodule", box=(0, 0, 10, 10))
NODULE = Region("nodule", mask=embed_mask(DISC), source="clipseg", score=0.75)
HEART = Region("heart", box=(50, 30, 60, 40), source="clipseg", score=0.5)


def made(*regions: Region, **keys):
    settings = {"kind": "black", "region": "found", "feather": 0} | keys
    return corrupt(GREY, regions, CorruptionConfig(**settings), seed=0)


def changed(result) -> np.ndarray:
    return (result.image != 128).any(axis=2)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (64, 65), (513, 700)])
def test_a_mask_survives_its_journey(shape):
    mask = np.random.default_rng(0).random(shape) < 0.3
    assert np.array_equal(read_mask(embed_mask(mask), *shape), mask)


def test_a_large_round_mask_is_a_short_text():
    wide = np.hypot(*np.ogrid[-500:500, -500:500]) < 200
    assert len(embed_mask(wide)) < 8_000


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (EMBEDDED + "no base64!", "mask-unreadable"),
        (EMBEDDED + "AAAA", "mask-unreadable"),
        (EMBEDDED, "mask-unreadable"),
        (embed_mask(np.ones((3, 3), bool)), "mask-size"),
    ],
)
def test_a_damaged_embedded_mask_is_one_clear_reason(uri, reason):
    with pytest.raises(ItemError) as raised:
        read_mask(uri, 4, 4)
    assert raised.value.reason == reason
    assert "base64," not in str(raised.value)


def test_what_was_found_is_corrupted_and_recorded():
    result = made(NODULE)
    assert np.array_equal(changed(result), DISC)
    assert (result.region_source, result.score) == ("clipseg", 0.75)
    assert result.kind == "black found=nodule:0.75"
    both = made(NODULE, HEART)
    assert changed(both).sum() == DISC.sum() + 100
    assert both.kind == "black found=heart:0.50,nodule:0.75"
    assert both.score == 0.75


def test_regions_of_the_data_do_not_count():
    assert made(GIVEN) is None
    assert made(GIVEN, NODULE).sha256 == made(NODULE).sha256
    assert made() is None


def test_otherwise_the_whole_image():
    fallback = made(GIVEN, region="found-or-whole")
    assert (fallback.region_source, fallback.score) == ("whole-image", None)
    assert fallback.kind == "gaussian sigma=12"
    assert made(GIVEN, NODULE, region="found-or-whole").sha256 == made(NODULE).sha256


def test_labels_select_among_what_was_found():
    assert made(NODULE, HEART, labels=("Heart",)).kind == "black found=heart:0.50"
    assert made(NODULE, labels=("heart",)) is None


def test_regions_of_the_data_have_no_score():
    given = made(GIVEN, region="lesion")
    assert (given.kind, given.score) == ("black", None)


@pytest.mark.parametrize("region", ["found", "found-or-whole"])
def test_crop_needs_no_region(region):
    with pytest.raises(ValueError, match="crop takes the whole image"):
        CorruptionConfig(kind="crop", region=region)
