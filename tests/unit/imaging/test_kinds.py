"""Each kind of corruption, compared with its formula."""

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
IMAGE = GENERATOR.integers(0, 256, (90, 120, 3), dtype=np.uint8)
SMOOTH = np.rint(
    filters.gaussian(IMAGE.astype(np.float32), 4, channel_axis=-1, preserve_range=True)
).astype(np.uint8)


def box(rows: slice, columns: slice, shape=(90, 120)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def config(kind: str, **values) -> CorruptionConfig:
    return CorruptionConfig(kind=kind, **values)


def corrupted(image, mask, settings: CorruptionConfig, seed=0) -> np.ndarray:
    """Values before clipping, float [n, 3]."""
    generator = np.random.default_rng(seed)
    return KINDS[settings.kind](Patch.around(image, mask), settings, generator)[0]


def signal_by_hand(step: int) -> float:
    """ξ̄ by a loop in Python floats."""
    signal = 1.0
    for t in range(step):
        x = -6.0 + 12.0 * t / 999.0
        signal *= 1.0 - (1.0 / (1.0 + math.exp(-x)) * (0.5e-2 - 1e-5) + 1e-5)
    return signal


@pytest.mark.parametrize("step", [1, 2, 250, 500, 999, 1000])
def test_the_diffusion_schedule(step):
    assert signal_left(step) == pytest.approx(signal_by_hand(step), rel=1e-9)


@pytest.mark.parametrize("step", [50, 500, 1000])
@pytest.mark.parametrize("level", [128, 200])
def test_diffusion_has_the_mean_and_deviation_of_its_formula(step, level):
    image = np.full((128, 128, 3), level, np.uint8)
    values = corrupted(image, np.ones((128, 128), bool), config("diffusion", step=step))
    signal = signal_by_hand(step)
    spread = 127.5 * math.sqrt(1.0 - signal)
    # 16,384 samples per channel: standard error 0.55 % of the spread, and of the mean 0.8 % of it
    assert values.std(axis=0) == pytest.approx([spread] * 3, rel=0.025)
    expected = 127.5 + math.sqrt(signal) * (level - 127.5)
    assert np.abs(values.mean(axis=0) - expected).max() < 0.035 * spread
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.04


def test_diffusion_follows_the_formula_of_the_paper():
    """x* = √ξ̄·(x⊙h) + √(1−ξ̄)·(ε⊙h) + x⊙(1−h), on −1 to 1, with ε as drawn."""
    mask, feather, step = box(slice(20, 50), slice(30, 70)), 4, 300
    rows, columns = np.indices(mask.shape)
    down = np.maximum(np.maximum(20 - rows, rows - 49), 0)
    across = np.maximum(np.maximum(30 - columns, columns - 69), 0)
    distance = np.hypot(down, across)
    soft = np.where(distance <= feather, 1.0 - distance / (feather + 1), 0.0)
    noise = np.zeros((*mask.shape, 3))
    drawn = np.random.default_rng(5).standard_normal((int((soft > 0).sum()), 3), np.float32)
    noise[soft > 0] = drawn
    signal, h, x = signal_by_hand(step), soft[..., None], SMOOTH / 127.5 - 1.0
    expected = math.sqrt(signal) * (x * h) + math.sqrt(1 - signal) * (noise * h) + x * (1 - h)
    expected = np.clip((expected + 1.0) * 127.5, 0.0, 255.0)
    result = corrupt_inside(SMOOTH, mask, "", config("diffusion", step=step, feather=feather), 5)
    assert np.abs(result.image - expected).max() <= 0.501
    assert result.kind == "diffusion step=300 feather=4"


def test_gaussian_adds_its_sigma_before_clipping():
    image = np.full((128, 128, 3), 250, np.uint8)
    values = corrupted(image, np.ones((128, 128), bool), config("gaussian", sigma=45.0))
    assert values.std(axis=0) == pytest.approx([45.0] * 3, rel=0.025)
    assert values.mean() == pytest.approx(250, abs=1)


@pytest.mark.parametrize("sigma", [10.0, 40.0])
def test_replacement_is_half_of_a_normal_distribution(sigma):
    image = np.full((128, 128, 3), 200, np.uint8)
    settings = config("replacement", replacement_sigma=sigma)
    values = corrupted(image, np.ones((128, 128), bool), settings)
    assert (values == 0).mean() == pytest.approx(0.5, abs=0.01)
    # of max(0, N(0, σ²)): mean σ/√(2π), mean square σ²/2
    assert values.mean() == pytest.approx(sigma / math.sqrt(2 * math.pi), rel=0.03)
    assert (values**2).mean() == pytest.approx(sigma**2 / 2, rel=0.03)
    assert corrupt_whole(image, settings, 0).kind == f"replacement sigma={sigma:g}"


EDGES = np.zeros((90, 120, 3), np.uint8)
EDGES[30:, 50:], EDGES[::7, ::5] = 255, 255


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """By scikit-image, float32 [H, W, 3]."""
    return filters.gaussian(
        image.astype(np.float32), sigma=sigma, channel_axis=-1, preserve_range=True
    )


@pytest.mark.parametrize("sigma", [0.7, 5.0, 9.9])
@pytest.mark.parametrize("image", [IMAGE, SMOOTH], ids=["noise", "smooth"])
def test_blur_equals_scikit_image_bit_for_bit(image, sigma):
    expected = np.rint(np.clip(blurred(image, sigma), 0.0, 255.0)).astype(np.uint8)
    assert np.array_equal(corrupt_whole(image, config("blur", sigma=sigma), 0).image, expected)
    mask = box(slice(0, 30), slice(80, 120))  # at a corner of the image
    result = corrupt_inside(image, mask, "", config("blur", sigma=sigma), 0).image
    assert np.array_equal(result[mask], expected[mask])


@pytest.mark.parametrize("sigma", [10.0, 14.9, 45.0, 300.0])
@pytest.mark.parametrize("image", [IMAGE, SMOOTH, EDGES], ids=["noise", "smooth", "edges"])
def test_a_wide_blur_equals_scikit_image_up_to_rounding(image, sigma):
    expected = blurred(image, sigma)
    everywhere = np.ones(image.shape[:2], bool)
    values = corrupted(image, everywhere, config("blur", sigma=sigma)).reshape(image.shape)
    assert np.abs(values - expected).max() < 0.04
    for mask in (
        box(slice(0, 30), slice(80, 120)),  # at a corner of the image
        box(slice(40, 41), slice(7, 8)),
        box(slice(3, 80), slice(60, 62)),
    ):
        assert (
            np.abs(corrupted(image, mask, config("blur", sigma=sigma)) - expected[mask]).max()
            < 0.04
        )


@pytest.mark.parametrize("sigma", [3.0, 20.0])
def test_blur_in_blocks(monkeypatch, sigma):
    everywhere, settings = np.ones((90, 120), bool), config("blur", sigma=sigma)
    expected = corrupted(IMAGE, everywhere, settings)
    monkeypatch.setattr("medray.imaging.kinds.fills.BLOCK", 7)
    assert np.abs(corrupted(IMAGE, everywhere, settings) - expected).max() < 1e-3


def test_inpaint_equals_scikit_image_on_the_whole_image():
    mask = box(slice(30, 50), slice(40, 62)) | box(slice(0, 6), slice(0, 9))
    expected = inpaint_biharmonic(SMOOTH.astype(np.float64), mask, channel_axis=-1)
    result = corrupt_inside(SMOOTH, mask, "", config("inpaint"), 0)
    assert np.abs(result.image[mask] - expected[mask]).max() < 1.0
    assert result.kind == "inpaint"


def test_inpaint_continues_a_ramp_and_ignores_the_region():
    ramp = np.repeat((np.arange(120) * 2)[None, :, None], 90, 0).repeat(3, 2).astype(np.uint8)
    mask = box(slice(30, 60), slice(40, 80))
    damaged = ramp.copy()
    damaged[mask] = IMAGE[mask]
    result = corrupt_inside(damaged, mask, "", config("inpaint"), 0)
    assert np.abs(result.image.astype(int) - ramp).max() <= 1


@pytest.mark.parametrize("most", [300, 20])
def test_inpaint_of_a_large_region_is_solved_at_reduced_size(monkeypatch, most):
    monkeypatch.setattr("medray.imaging.kinds.inpainting.MAX_PIXELS", most)
    ramp = np.repeat((np.arange(120) * 2)[None, :, None], 90, 0).repeat(3, 2).astype(np.uint8)
    mask = box(slice(30, 60), slice(40, 80))  # 1,200 pixels
    damaged = ramp.copy()
    damaged[mask] = IMAGE[mask]
    result = corrupt_inside(damaged, mask, "", config("inpaint"), 0)
    factor = math.ceil(math.sqrt(1200 / most))
    assert result.kind == f"inpaint scale=1/{factor}"
    assert np.abs(result.image.astype(int) - ramp).max() <= 2 * factor  # two grey values per pixel
    damaged[mask] = 255 - damaged[mask]
    again = corrupt_inside(damaged, mask, "", config("inpaint"), 0)
    assert np.array_equal(again.image[mask], result.image[mask])


def test_inpaint_needs_surroundings():
    with pytest.raises(ItemError) as caught:
        corrupt_whole(IMAGE, config("inpaint"), 0)
    assert caught.value.reason == "inpaint-no-surroundings"
    with pytest.raises(ValidationError, match="needs surroundings"):
        config("inpaint", region="whole")
    either = config("inpaint", region="lesion-or-whole")
    assert corrupt(IMAGE, (), either, seed=0).kind == "gaussian sigma=12"


@pytest.mark.parametrize("shape", [(90, 120), (400, 30), (1, 1), (3, 200)])
def test_crop_is_an_enlarged_part_of_the_image(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for seed in range(20):
        result = corrupt(image, (), config("crop", region="whole"), seed=seed)
        x0, y0, x1, y1 = map(int, result.kind.removeprefix("crop box=").split(","))
        assert 0 <= x0 < x1 <= shape[1]
        assert 0 <= y0 < y1 <= shape[0]
        part = Image.fromarray(image[y0:y1, x0:x1]).resize(shape[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(result.image, np.asarray(part))
        assert result.region_source == "whole-image"


def test_crop_covers_the_given_scale():
    image = np.zeros((200, 200, 3), np.uint8)
    spot = Patch.around(image, box(slice(0, 1), slice(0, 1), (200, 200)))
    shares, ratios = [], []
    for seed in range(400):
        _, description = KINDS["crop"](spot, config("crop"), np.random.default_rng(seed))
        x0, y0, x1, y1 = map(int, description.removeprefix("box=").split(","))
        shares.append((x1 - x0) * (y1 - y0) / 200**2)
        ratios.append((x1 - x0) / (y1 - y0))
    assert min(shares) > 0.0085
    assert max(shares) < 0.205
    assert np.mean(shares) == pytest.approx(0.105, abs=0.01)  # uniform between .01 and .2
    assert 0.68 < min(ratios) < 0.78
    assert 1.29 < max(ratios) < 1.47
    assert np.mean(np.log(ratios)) == pytest.approx(0.0, abs=0.03)


def test_crop_cannot_use_saliency():
    with pytest.raises(ValidationError, match="crop takes the whole image"):
        config("crop", region="lesion-or-saliency")


@pytest.mark.parametrize("region", ["lesion", "lesion-or-whole", "whole"])
def test_crop_always_takes_the_whole_image(region):
    from medray.records import Region

    regions = (Region("a", box=(5, 5, 20, 20)),)
    result = corrupt(IMAGE, regions, config("crop", region=region, feather=4), seed=1)
    assert result.region_source == "whole-image"
    assert result.kind.startswith("crop box=")
    assert "feather" not in result.kind
    without = corrupt(IMAGE, (), config("crop", region=region), seed=1)
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
def test_invalid_settings_are_refused(values):
    with pytest.raises(ValidationError):
        CorruptionConfig(**values)
