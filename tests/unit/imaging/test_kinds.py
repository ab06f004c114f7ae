"""What each kind of corruption puts into the region, against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from skimage import filters
from skimage.restoration import inpaint_biharmonic

from medray.config import CorruptionConfig
from medray.errors import ItemError
from medray.imaging.corruption import corrupt, corrupt_inside, corrupt_whole
from medray.imaging.kinds import KINDS, Patch
from medray.imaging.kinds.noise import signal_left

GENERATOR = np.random.default_rng(11)
PICTURE = GENERATOR.integers(0, 256, (90, 120, 3), dtype=np.uint8)
SMOOTH = np.rint(
    filters.gaussian(PICTURE.astype(np.float32), 4, channel_axis=-1, preserve_range=True)
).astype(np.uint8)


def box(rows: slice, columns: slice, shape=(90, 120)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def config(kind: str, **values) -> CorruptionConfig:
    return CorruptionConfig(kind=kind, **values)


def made(image, mask, chosen: CorruptionConfig, seed=0) -> np.ndarray:
    """Values before clipping, float [n, 3]."""
    generator = np.random.default_rng(seed)
    return KINDS[chosen.kind](Patch.around(image, mask), chosen, generator)[0]


def kept_by_hand(step: int) -> float:
    """ξ̄ by a loop in Python floats."""
    kept = 1.0
    for t in range(step):
        x = -6.0 + 12.0 * t / 999.0
        kept *= 1.0 - (1.0 / (1.0 + math.exp(-x)) * (0.5e-2 - 1e-5) + 1e-5)
    return kept


@pytest.mark.parametrize("step", [1, 2, 250, 500, 999, 1000])
def test_schedule(step):
    assert signal_left(step) == pytest.approx(kept_by_hand(step), rel=1e-9)


@pytest.mark.parametrize("step", [50, 500, 1000])
@pytest.mark.parametrize("level", [128, 200])
def test_diffusion_has_the_mean_and_the_strength_of_its_formula(step, level):
    image = np.full((128, 128, 3), level, np.uint8)
    values = made(image, np.ones((128, 128), bool), config("diffusion", step=step))
    kept = kept_by_hand(step)
    spread = 127.5 * math.sqrt(1.0 - kept)
    # 16,384 samples a channel: the standard error of the spread is 0.55 %, of the mean 0.8 % of it
    assert values.std(axis=0) == pytest.approx([spread] * 3, rel=0.025)
    expected = 127.5 + math.sqrt(kept) * (level - 127.5)
    assert np.abs(values.mean(axis=0) - expected).max() < 0.035 * spread
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.04


def test_diffusion_is_the_papers_formula_with_its_soft_map():
    """x* = √ξ̄·(x⊙h) + √(1−ξ̄)·(ε⊙h) + x⊙(1−h), on −1 to 1, with ε as drawn."""
    mask, feather, step = box(slice(20, 50), slice(30, 70)), 4, 300
    rows, columns = np.indices(mask.shape)
    down = np.maximum(np.maximum(20 - rows, rows - 49), 0)
    across = np.maximum(np.maximum(30 - columns, columns - 69), 0)
    apart = np.hypot(down, across)
    soft = np.where(apart <= feather, 1.0 - apart / (feather + 1), 0.0)
    noise = np.zeros((*mask.shape, 3))
    drawn = np.random.default_rng(5).standard_normal((int((soft > 0).sum()), 3), np.float32)
    noise[soft > 0] = drawn
    kept, h, x = kept_by_hand(step), soft[..., None], SMOOTH / 127.5 - 1.0
    wanted = math.sqrt(kept) * (x * h) + math.sqrt(1 - kept) * (noise * h) + x * (1 - h)
    wanted = np.clip((wanted + 1.0) * 127.5, 0.0, 255.0)
    found = corrupt_inside(SMOOTH, mask, "", config("diffusion", step=step, feather=feather), 5)
    assert np.abs(found.image - wanted).max() <= 0.501
    assert found.kind == "diffusion step=300 feather=4"


def test_gaussian_adds_its_sigma_before_clipping():
    image = np.full((128, 128, 3), 250, np.uint8)
    values = made(image, np.ones((128, 128), bool), config("gaussian", sigma=45.0))
    assert values.std(axis=0) == pytest.approx([45.0] * 3, rel=0.025)
    assert values.mean() == pytest.approx(250, abs=1)


@pytest.mark.parametrize("sigma", [10.0, 40.0])
def test_replacement_is_half_of_a_normal_distribution(sigma):
    image = np.full((128, 128, 3), 200, np.uint8)
    chosen = config("replacement", replacement_sigma=sigma)
    values = made(image, np.ones((128, 128), bool), chosen)
    assert (values == 0).mean() == pytest.approx(0.5, abs=0.01)
    # of max(0, N(0, σ²)): mean σ/√(2π), mean square σ²/2
    assert values.mean() == pytest.approx(sigma / math.sqrt(2 * math.pi), rel=0.03)
    assert (values**2).mean() == pytest.approx(sigma**2 / 2, rel=0.03)
    assert corrupt_whole(image, chosen, 0).kind == f"replacement sigma={sigma:g}"


EDGES = np.zeros((90, 120, 3), np.uint8)
EDGES[30:, 50:], EDGES[::7, ::5] = 255, 255


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """By scikit-image, float32 [H, W, 3]."""
    return filters.gaussian(
        image.astype(np.float32), sigma=sigma, channel_axis=-1, preserve_range=True
    )


@pytest.mark.parametrize("sigma", [0.7, 5.0, 9.9])
@pytest.mark.parametrize("image", [PICTURE, SMOOTH], ids=["noise", "smooth"])
def test_blur_is_that_of_scikit_image_bit_for_bit(image, sigma):
    wanted = np.rint(np.clip(blurred(image, sigma), 0.0, 255.0)).astype(np.uint8)
    assert np.array_equal(corrupt_whole(image, config("blur", sigma=sigma), 0).image, wanted)
    mask = box(slice(0, 30), slice(80, 120))  # at a corner of the image
    found = corrupt_inside(image, mask, "", config("blur", sigma=sigma), 0).image
    assert np.array_equal(found[mask], wanted[mask])


@pytest.mark.parametrize("sigma", [10.0, 14.9, 45.0, 300.0])
@pytest.mark.parametrize("image", [PICTURE, SMOOTH, EDGES], ids=["noise", "smooth", "edges"])
def test_a_wide_blur_is_that_of_scikit_image_but_for_what_rounding_shows(image, sigma):
    wanted = blurred(image, sigma)
    everywhere = np.ones(image.shape[:2], bool)
    values = made(image, everywhere, config("blur", sigma=sigma)).reshape(image.shape)
    assert np.abs(values - wanted).max() < 0.04
    for mask in (
        box(slice(0, 30), slice(80, 120)),  # at a corner of the image
        box(slice(40, 41), slice(7, 8)),
        box(slice(3, 80), slice(60, 62)),
    ):
        assert np.abs(made(image, mask, config("blur", sigma=sigma)) - wanted[mask]).max() < 0.04


@pytest.mark.parametrize("sigma", [3.0, 20.0])
def test_blur_in_blocks(monkeypatch, sigma):
    everywhere, chosen = np.ones((90, 120), bool), config("blur", sigma=sigma)
    whole = made(PICTURE, everywhere, chosen)
    monkeypatch.setattr("medray.imaging.kinds.fills.BLOCK", 7)
    assert np.abs(made(PICTURE, everywhere, chosen) - whole).max() < 1e-3


def test_inpaint_is_scikit_images_on_the_whole_image():
    mask = box(slice(30, 50), slice(40, 62)) | box(slice(0, 6), slice(0, 9))
    wanted = inpaint_biharmonic(SMOOTH.astype(np.float64), mask, channel_axis=-1)
    found = corrupt_inside(SMOOTH, mask, "", config("inpaint"), 0)
    assert np.abs(found.image[mask] - wanted[mask]).max() < 1.0
    assert found.kind == "inpaint"


def test_inpaint_goes_on_with_a_ramp_and_sees_nothing_of_the_region():
    ramp = np.repeat((np.arange(120) * 2)[None, :, None], 90, 0).repeat(3, 2).astype(np.uint8)
    mask = box(slice(30, 60), slice(40, 80))
    spoilt = ramp.copy()
    spoilt[mask] = PICTURE[mask]
    found = corrupt_inside(spoilt, mask, "", config("inpaint"), 0)
    assert np.abs(found.image.astype(int) - ramp).max() <= 1


@pytest.mark.parametrize("most", [300, 20])
def test_inpaint_of_a_large_region_is_solved_small(monkeypatch, most):
    monkeypatch.setattr("medray.imaging.kinds.inpainting.MOST_PIXELS", most)
    ramp = np.repeat((np.arange(120) * 2)[None, :, None], 90, 0).repeat(3, 2).astype(np.uint8)
    mask = box(slice(30, 60), slice(40, 80))  # 1,200 pixels
    spoilt = ramp.copy()
    spoilt[mask] = PICTURE[mask]
    found = corrupt_inside(spoilt, mask, "", config("inpaint"), 0)
    factor = math.ceil(math.sqrt(1200 / most))
    assert found.kind == f"inpaint scale=1/{factor}"
    assert np.abs(found.image.astype(int) - ramp).max() <= 2 * factor  # two grey values a pixel
    spoilt[mask] = 255 - spoilt[mask]
    again = corrupt_inside(spoilt, mask, "", config("inpaint"), 0)
    assert np.array_equal(again.image[mask], found.image[mask])


def test_inpaint_needs_something_to_go_by():
    with pytest.raises(ItemError) as caught:
        corrupt_whole(PICTURE, config("inpaint"), 0)
    assert caught.value.reason == "inpaint-no-surroundings"
    with pytest.raises(ValidationError, match="needs surroundings"):
        config("inpaint", region="whole")
    either = config("inpaint", region="lesion-or-whole")
    assert corrupt(PICTURE, (), either, seed=0).kind == "gaussian sigma=12"


@pytest.mark.parametrize("shape", [(90, 120), (400, 30), (1, 1), (3, 200)])
def test_crop_is_a_part_of_the_image_enlarged(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for seed in range(20):
        found = corrupt(image, (), config("crop", region="whole"), seed=seed)
        x0, y0, x1, y1 = map(int, found.kind.removeprefix("crop box=").split(","))
        assert 0 <= x0 < x1 <= shape[1]
        assert 0 <= y0 < y1 <= shape[0]
        part = Image.fromarray(image[y0:y1, x0:x1]).resize(shape[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(found.image, np.asarray(part))
        assert found.region_source == "whole-image"


def test_crop_covers_the_scale_it_is_given():
    image = np.zeros((200, 200, 3), np.uint8)
    spot = Patch.around(image, box(slice(0, 1), slice(0, 1), (200, 200)))
    shares, ratios = [], []
    for seed in range(400):
        _, told = KINDS["crop"](spot, config("crop"), np.random.default_rng(seed))
        x0, y0, x1, y1 = map(int, told.removeprefix("box=").split(","))
        shares.append((x1 - x0) * (y1 - y0) / 200**2)
        ratios.append((x1 - x0) / (y1 - y0))
    assert min(shares) > 0.0085
    assert max(shares) < 0.205
    assert np.mean(shares) == pytest.approx(0.105, abs=0.01)  # even between .01 and .2
    assert 0.68 < min(ratios) < 0.78
    assert 1.29 < max(ratios) < 1.47
    assert np.mean(np.log(ratios)) == pytest.approx(0.0, abs=0.03)


def test_crop_has_no_use_for_where_the_policy_looked():
    with pytest.raises(ValidationError, match="crop takes the whole image"):
        config("crop", region="lesion-or-saliency")


@pytest.mark.parametrize("region", ["lesion", "lesion-or-whole", "whole"])
def test_crop_takes_the_whole_image_wherever_a_case_gets_one(region):
    from medray.records import Region

    regions = (Region("a", box=(5, 5, 20, 20)),)
    found = corrupt(PICTURE, regions, config("crop", region=region, feather=4), seed=1)
    assert found.region_source == "whole-image"
    assert found.kind.startswith("crop box=")
    assert "feather" not in found.kind
    without = corrupt(PICTURE, (), config("crop", region=region), seed=1)
    assert (without is None) == (region == "lesion")


@pytest.mark.parametrize(
    "values",
    [
        {"step": 0},
        {"step": 1001},
        {"feather": -1},
        {"replacement_sigma": 0.0},
        {"labels": ()},
        {"crop_scale": (0.0, 0.2)},
        {"crop_scale": (0.3, 0.2)},
        {"crop_scale": (0.1, 1.2)},
        {"kind": "blur", "sigma": 1001.0},
    ],
)
def test_what_the_configuration_refuses(values):
    with pytest.raises(ValidationError):
        CorruptionConfig(**values)
