"""Black fill and Gaussian blur."""

from __future__ import annotations

from typing import Any

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.kinds.patch import Patch, grown

REACH = 4.0  # radius of the blur in sigmas, as in scikit-image
SAMPLES = 5  # rows per sigma that a wide blur computes
BLOCK = 16  # rows smoothed at a time
# Multiplications in one matrix product. From 2^18 on OpenBLAS uses all cores, and if other
# processes occupy them, it waits a hundred times longer than one core computes.
MAX_PRODUCT = 2**18


def black(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Every pixel zero."""
    return np.zeros((int(np.count_nonzero(patch.inside)), 3), np.float32), ""


def blur(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """The whole image blurred by a Gaussian of `sigma` pixels, seen through the region.

    Same values as `skimage.filters.gaussian` (float32 between the axes, borders repeated), but
    only the rows and columns of the region are smoothed, as matrix products. A wide blur computes
    only every sigma/5-th row and column and interpolates the rest (cubic), which stays within
    0.04 grey levels: a blurred image has no finer detail.
    """
    sigma = settings.sigma
    step = max(1, int(sigma / SAMPLES))
    reach = int(REACH * sigma + 0.5) + (2 * step if step > 1 else 0)
    height, width = patch.image.shape[:2]
    rows, columns = grown(patch.rows, reach, height), grown(patch.columns, reach, width)
    near = patch.image[rows, columns]
    down = _smooth(near, _within(patch.rows, rows), sigma, step)
    across = _smooth(down.transpose(1, 0, 2), _within(patch.columns, columns), sigma, step)
    if step > 1:
        across = _interpolate(across, patch.columns.stop - patch.columns.start, step)
    blurred = np.ascontiguousarray(across.transpose(1, 0, 2))
    if step > 1:
        blurred = _interpolate(blurred, patch.rows.stop - patch.rows.start, step)
    return patch.chosen(blurred), f"sigma={sigma:g}"


def _within(part: slice, enclosing: slice) -> slice:
    return slice(part.start - enclosing.start, part.stop - enclosing.start)


def _smooth(values: np.ndarray, wanted: slice, sigma: float, step: int) -> np.ndarray:
    """Smooth along the first axis: [N, M, 3] → float32 [n, M, 3].

    Returns the wanted rows if `step` is 1, otherwise every `step`-th of them with one before and
    two after. Beyond the borders the first and the last row are repeated.
    """
    length, radius = len(values), int(REACH * sigma + 0.5)
    margin = (step, 2 * step) if step > 1 else (0, 0)
    centres = np.arange(wanted.start - margin[0], wanted.stop + margin[1], step)
    flat = values.reshape(length, -1)
    out = np.empty((len(centres), flat.shape[1]), np.float32)
    dtype: Any = np.float64 if step == 1 else np.float32
    blocks = []
    for start in range(0, len(centres), BLOCK):
        block = centres[start : start + BLOCK]
        near = slice(max(0, int(block[0]) - radius), min(length, int(block[-1]) + radius + 1))
        weights = _weights(block - near.start, near.stop - near.start, sigma, radius)
        blocks.append((start, near, weights.astype(dtype)))
    strip = max(1, MAX_PRODUCT // max(weights.size for _, _, weights in blocks))
    for left in range(0, flat.shape[1], strip):
        part = flat[:, left : left + strip].astype(dtype)
        for start, near, weights in blocks:
            out[start : start + len(weights), left : left + strip] = weights @ part[near]
    return out.reshape(-1, *values.shape[1:])


def _weights(centres: np.ndarray, size: int, sigma: float, radius: int) -> np.ndarray:
    """Weights of `size` rows in each smoothed row, float64 [centres, size]; the first and the
    last row also get the weights of all rows beyond them."""
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / sigma**2 * offsets**2)
    kernel /= kernel.sum()
    rows = [
        np.bincount(np.clip(centre + offsets, 0, size - 1), weights=kernel, minlength=size)
        for centre in centres
    ]
    return np.stack(rows)


def _interpolate(samples: np.ndarray, count: int, step: int) -> np.ndarray:
    """Interpolate rows between samples: float32 [n, M, 3] → [count, M, 3].

    Row 0 is sample 1, and samples are `step` rows apart; cubic, through the four nearest samples.
    """
    out = np.empty((count, *samples.shape[1:]), np.float32)
    for phase in range(min(step, count)):
        t = phase / step
        weights = (
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        )
        rows = out[phase::step]
        np.multiply(samples[: len(rows)], np.float32(weights[0]), out=rows)
        for number, weight in enumerate(weights[1:], start=1):
            rows += np.float32(weight) * samples[number : number + len(rows)]
    return out
