"""Noise: added to the pixels, mixed with them, or replacing them."""

from __future__ import annotations

import functools

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.kinds.patch import Patch

DIFFUSION_STEPS = 1000
HALF_RANGE = 127.5  # diffusion maps 0–255 to −1–1


def gaussian(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Add N(0, sigma²) to each channel of each pixel; sigma on the 0–255 scale.

    FiRe-MPO (arXiv 2606.12590): sigma 45 in the lesion, 12 on a whole image.
    """
    inside = patch.pixels().astype(np.float64)
    inside += rng.normal(0.0, settings.sigma, inside.shape)
    return inside, f"sigma={settings.sigma:g}"


def diffusion(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """√ξ̄_k · x + √(1 − ξ̄_k) · ε with ε ~ N(0, 1) and x on the scale from −1 to 1.

    MMedPO (arXiv 2412.06141, as in the paper; the schedule is that of visual contrastive
    decoding): forward diffusion by k = `step` steps. The paper's factors ⊙h and + x⊙(1 − h) are
    the blending at the edge, which is the same for every kind. On the 0–255 scale the noise has a
    standard deviation of 127.5 · √(1 − ξ̄_k), and the image fades to mid-grey.
    """
    signal = signal_left(settings.step)
    inside = patch.pixels().astype(np.float32)
    inside -= np.float32(HALF_RANGE)
    inside *= np.float32(signal**0.5)
    noise = rng.standard_normal(inside.shape, dtype=np.float32)
    noise *= np.float32((1.0 - signal) ** 0.5 * HALF_RANGE)
    inside += noise
    inside += np.float32(HALF_RANGE)
    return inside, f"step={settings.step}"


def replacement(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """clip(N(0, replacement_sigma²), 0, 255) instead of each channel of each pixel.

    MMedPO (as in its code), with 10 on the 0–255 scale: half of the values are 0, the rest small.
    """
    shape = (int(np.count_nonzero(patch.inside)), 3)
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= np.float32(settings.replacement_sigma)
    np.clip(noise, 0.0, 255.0, out=noise)
    return noise, f"sigma={settings.replacement_sigma:g}"


def signal_left(step: int) -> float:
    """ξ̄_k, the share of the variance that is still signal after k = `step` steps, 1 to 1000."""
    return float(_schedule()[step - 1])


@functools.cache
def _schedule() -> np.ndarray:
    """ξ̄_1 … ξ̄_1000, float64: Π (1 − β_t), β = sigmoid(linspace(−6, 6))·(.5e-2 − 1e-5) + 1e-5."""
    betas = 1.0 / (1.0 + np.exp(-np.linspace(-6.0, 6.0, DIFFUSION_STEPS)))
    return np.cumprod(1.0 - (betas * (0.5e-2 - 1e-5) + 1e-5))
