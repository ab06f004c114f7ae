"""v': only the region changes, by the right amount, and equally for the same seed."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from medray.config import CorruptionConfig
from medray.data.readers.jsonl import read_jsonl
from medray.errors import ItemError
from medray.imaging.corruption import KINDS, WHOLE_ONLY, corrupt, corrupt_inside
from medray.imaging.load import encode_png, load_image, pixels_sha256
from medray.imaging.regions import region_mask
from medray.records import Region
from medray.seeds import item_seed

INSIDE = sorted(set(KINDS) - WHOLE_ONLY)  # kinds that change only the region
RANDOM = {"gaussian", "diffusion", "replacement", "crop"}
LESION = (Region("nodule", box=(20, 10, 120, 110), source="dataset"),)


def mid_grey() -> np.ndarray:
    return np.full((128, 160, 3), 128, np.uint8)


def random_image() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (128, 160, 3), dtype=np.uint8)


def config(**values) -> CorruptionConfig:
    return CorruptionConfig(**values)


def test_every_kind_of_the_configuration_exists_and_no_other():
    assert set(KINDS) == set(get_args(CorruptionConfig.model_fields["kind"].annotation))


@pytest.mark.parametrize("kind", INSIDE)
def test_outside_is_identical_inside_differs_and_the_input_is_unchanged(kind):
    image = random_image()
    before = image.copy()
    result = corrupt(image, LESION, config(kind=kind, sigma=5.0), seed=3)
    mask = region_mask(LESION, 128, 160)
    assert np.array_equal(image, before)
    assert result.image.dtype == np.uint8
    assert result.image.shape == image.shape
    assert np.array_equal(result.image[~mask], image[~mask])
    assert (result.image[mask] != image[mask]).mean() > 0.5
    assert result.region_source == "dataset"
    assert result.sha256 == pixels_sha256(result.image) != pixels_sha256(image)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_seed_gives_the_same_bytes(kind):
    first, again = (corrupt(random_image(), LESION, config(kind=kind), seed=3) for _ in range(2))
    other = corrupt(random_image(), LESION, config(kind=kind), seed=4)
    assert first.image.tobytes() == again.image.tobytes()
    assert (first.sha256 == other.sha256) == (kind not in RANDOM)


@pytest.mark.parametrize("sigma", [5.0, 12.0, 30.0])
def test_gaussian_has_its_sigma_independently_in_each_channel(sigma):
    result = corrupt(mid_grey(), LESION, config(sigma=sigma), seed=0)
    added = result.image[10:110, 20:120].astype(float) - 128
    # 10,000 samples: the standard error of sigma is 0.7 %, of the mean 1 % of sigma
    assert added.std(axis=(0, 1)) == pytest.approx([sigma] * 3, rel=0.04)
    assert np.abs(added.mean(axis=(0, 1))).max() < 0.05 * sigma
    assert np.abs(np.corrcoef(added.reshape(-1, 3).T) - np.eye(3)).max() < 0.05


def test_gaussian_45_is_clipped_and_never_wraps():
    dark = corrupt(np.zeros((128, 160, 3), np.uint8), LESION, config(), seed=0)
    inside = dark.image[10:110, 20:120]
    assert (inside == 0).mean() == pytest.approx(0.5, abs=0.02)  # the negative half, clipped
    assert inside.max() < 45 * 6
    assert dark.kind == "gaussian sigma=45"


def test_black_and_blur():
    black = corrupt(random_image(), LESION, config(kind="black"), seed=0)
    assert black.image[10:110, 20:120].max() == 0
    assert black.kind == "black"
    flat = corrupt(mid_grey(), LESION, config(kind="blur", sigma=2.5), seed=0)
    assert np.array_equal(flat.image, mid_grey())
    assert flat.kind == "blur sigma=2.5"
    blurred = corrupt(random_image(), LESION, config(kind="blur", sigma=2.5), seed=0)
    assert blurred.image[10:110, 20:120].std() < 0.3 * random_image().std()


def test_cases_without_a_corrupted_image():
    outside = (Region("a", box=(500, 500, 600, 600)),)
    assert corrupt(random_image(), LESION, config(region="none"), seed=0) is None
    assert corrupt(random_image(), (), config(region="lesion"), seed=0) is None
    assert corrupt(random_image(), outside, config(region="lesion"), seed=0) is None


@pytest.mark.parametrize("kind", INSIDE)
def test_without_a_lesion_the_whole_image_gets_the_weaker_noise(kind):
    result = corrupt(mid_grey(), (), config(region="lesion-or-whole", kind=kind), seed=0)
    assert result.region_source == "whole-image"
    assert result.kind == "gaussian sigma=12"
    assert result.image.std() == pytest.approx(12, rel=0.02)


def test_with_a_lesion_lesion_or_whole_means_lesion():
    either = corrupt(random_image(), LESION, config(region="lesion-or-whole"), seed=0)
    assert either.sha256 == corrupt(random_image(), LESION, config(), seed=0).sha256


def test_region_whole_ignores_the_lesion():
    noise = corrupt(mid_grey(), LESION, config(region="whole"), seed=0)
    assert (noise.kind, noise.region_source) == ("gaussian sigma=12", "whole-image")
    black = corrupt(mid_grey(), LESION, config(region="whole", kind="black", feather=9), seed=0)
    assert black.image.max() == 0
    assert black.kind == "black"  # no edge, so nothing was feathered


def test_sources_are_named_once():
    regions = (*LESION, *LESION, Region("b", box=(0, 0, 5, 5), source="phantom"))
    assert corrupt(random_image(), regions, config(), seed=0).region_source == "dataset+phantom"


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(INSIDE), st.integers(0, 99))
def test_any_size_down_to_one_pixel(height, width, kind, seed):
    image = np.full((height, width, 3), 90, np.uint8)
    regions = (Region("a", box=(0, 0, 1, 1)),)
    if kind == "inpaint" and height == width == 1:
        return  # there are no surroundings: see below
    result = corrupt(image, regions, config(kind=kind), seed=seed)
    changed = np.argwhere((result.image != image).any(axis=2)).tolist()
    assert changed in ([], [[0, 0]])


@st.composite
def images_with_regions(draw) -> tuple[np.ndarray, np.ndarray]:
    """A random image and a mask that is not empty."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = generator.random((height, width)) < draw(st.sampled_from([0.02, 0.3, 0.9]))
    mask[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8), mask


@given(images_with_regions(), st.sampled_from(INSIDE), st.integers(0, 6), st.integers(0, 9))
def test_any_mask_changes_nothing_beyond_its_feather(example, kind, feather, seed):
    image, mask = example
    settings = config(kind=kind, feather=feather)
    if kind == "inpaint" and near(mask, feather).all():
        with pytest.raises(ItemError, match="the region is the whole image"):
            corrupt_inside(image, mask, "dataset", settings, seed)
        return
    first, again = (corrupt_inside(image, mask, "dataset", settings, seed) for _ in range(2))
    far = ~near(mask, feather)
    assert np.array_equal(first.image[far], image[far])
    assert first.image.tobytes() == again.image.tobytes()
    assert f"feather={feather}" in first.kind or feather == 0 or mask.all()


def near(mask: np.ndarray, feather: int) -> np.ndarray:
    """The pixels at most `feather` from a marked one, by comparing all pairs."""
    pixels = np.indices(mask.shape).reshape(2, -1).T
    squared = ((pixels[:, None] - np.argwhere(mask)[None]) ** 2).sum(axis=-1)
    return (squared.min(axis=1) <= feather**2).reshape(mask.shape)


def test_a_feathered_edge_fades_linearly():
    # black on grey of 120, feather 5: each pixel regains a sixth of the grey
    image = np.full((40, 60, 3), 120, np.uint8)
    regions = (Region("a", box=(0, 0, 30, 40)),)
    result = corrupt(image, regions, config(kind="black", feather=5), seed=0)
    assert result.image[20, 28:38, 0].tolist() == [0, 0, 20, 40, 60, 80, 100, 120, 120, 120]
    assert result.kind == "black feather=5"


def test_a_feather_of_0_is_a_hard_edge():
    for kind in INSIDE:
        plain = corrupt(random_image(), LESION, config(kind=kind), seed=3)
        assert (
            plain.sha256
            == corrupt(random_image(), LESION, config(kind=kind, feather=0), seed=3).sha256
        )


def test_only_the_regions_with_a_wanted_label():
    regions = (Region("Liver", box=(0, 0, 10, 10)), Region("aorta", box=(50, 50, 60, 60)))
    result = corrupt(mid_grey(), regions, config(kind="black", labels=("liver", "spleen")), seed=0)
    changed = np.argwhere((result.image != 128).any(axis=2))
    assert (changed.min(), changed.max(), len(changed)) == (0, 9, 100)
    assert corrupt(mid_grey(), regions, config(labels=("spleen",)), seed=0) is None
    either = config(labels=("spleen",), region="lesion-or-whole")
    assert corrupt(mid_grey(), regions, either, seed=0).region_source == "whole-image"


def test_a_saliency_region_is_like_any_other():
    salient = Region("saliency", box=(50, 50, 60, 60), source="saliency")
    for labels in (None, ("liver",)):
        settings = config(kind="black", region="lesion-or-saliency", labels=labels)
        result = corrupt(mid_grey(), (salient,), settings, seed=0)
        assert result.region_source == "saliency"
        changed = np.argwhere((result.image != 128).any(axis=2))
        assert (changed.min(), changed.max(), len(changed)) == (50, 59, 100)
        assert corrupt(mid_grey(), (), settings, seed=0) is None
    liver, aorta = Region("liver", box=(0, 0, 10, 10)), Region("aorta", box=(20, 20, 30, 30))
    assert corrupt(mid_grey(), (liver,), settings, seed=0).region_source == "dataset"
    # A region with another label does not count, so the saliency region is used.
    other = corrupt(mid_grey(), (aorta, salient), settings, seed=0)
    assert other.sha256 == result.sha256


def test_a_mask_of_another_size_is_refused(tmp_path):
    (tmp_path / "m.png").write_bytes(encode_png(np.ones((5, 5), bool)))
    regions = (Region("a", mask=str(tmp_path / "m.png")),)
    for kind in INSIDE:
        with pytest.raises(ItemError) as caught:
            corrupt(random_image(), regions, config(kind=kind), seed=0)
        assert caught.value.reason == "mask-size"


@pytest.fixture(scope="module")
def lesions(shared_data):
    """(image, mask, regions, seed) of 40 real images."""
    rows = read_jsonl(str(shared_data / "lesions"))
    cases = {row.case.image: row.case for row in rows if row.case.regions}
    assert len(cases) == 40
    examples = []
    for case in cases.values():
        image = load_image(case.image)
        mask = region_mask(case.regions, *image.shape[:2])
        examples.append((image, mask, case.regions, item_seed(0, case.case_id)))
    return examples


@pytest.mark.data
@pytest.mark.parametrize(
    ("kind", "feather"),
    [
        ("gaussian", 0),
        *((kind, 3) for kind in INSIDE),
        *(pytest.param(kind, 0, marks=pytest.mark.chaos) for kind in INSIDE if kind != "gaussian"),
    ],
)
def test_every_real_lesion_is_corrupted_inside_and_nowhere_else(lesions, kind, feather):
    settings = config(kind=kind, feather=feather, sigma=9.0)
    for image, mask, regions, seed in lesions:
        result = corrupt(image, regions, settings, seed=seed)
        far = distance_transform_edt(~mask) > feather
        assert np.array_equal(result.image[far], image[far])
        assert (result.image[mask] != image[mask]).any()
        assert corrupt(image, regions, settings, seed=seed).sha256 == result.sha256


@pytest.mark.data
def test_every_real_image_is_cropped(lesions):
    for image, _, regions, seed in lesions:
        result = corrupt(image, regions, config(kind="crop"), seed=seed)
        assert result.image.shape == image.shape
        assert (result.image != image).any()
        assert result.region_source == "whole-image"
