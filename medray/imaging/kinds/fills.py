"""Black, and blur."""

from __future__ import annotations

from typing import Any

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.kinds.patch import Patch, grown

REACH = 4.0  # of the blur, in sigmas: scikit-image's own
SAMPLES = 5  # rows of a wide blur that are computed in each sigma
BLOCK = 16  # rows that are smoothed at a time
# Multiplications in one product. From 2^18 on OpenBLAS takes all cores for it, and where other
# processes have them, waits a hundred times as long as one core computes.
MOST_AT_ONCE = 2**18


def black(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Zero."""
    return np.zeros((int(np.count_nonzero(patch.inside)), 3), np.float32), ""


def blur(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """The whole image blurred by a Gaussian of `sigma` pixels, seen through the region.

    The numbers of `skimage.filters.gaussian` (float32 between the axes, borders repeated), which
    smooths every row it is given: here only those of the region are, as products of matrices. Of
    a wide blur only every sigma/5-th row and column is computed and the rest read between them
    (cubic), which stays within 0.04 grey levels of it: what is blurred has no finer detail.
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
        across = _between(across, patch.columns.stop - patch.columns.start, step)
    made = np.ascontiguousarray(across.transpose(1, 0, 2))
    if step > 1:
        made = _between(made, patch.rows.stop - patch.rows.start, step)
    return patch.chosen(made), f"sigma={sigma:g}"


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _smooth(values: np.ndarray, wanted: slice, sigma: float, step: int) -> np.ndarray:
    """Smooth along the first axis: [N, M, 3] → float32 [n, M, 3].

    The wanted rows where `step` is 1, else every `step`-th of them with one before and two after
    them. What lies beyond the first and the last row is as they are.
    """
    length, radius = len(values), int(REACH * sigma + 0.5)
    around = (step, 2 * step) if step > 1 else (0, 0)
    centres = np.arange(wanted.start - around[0], wanted.stop + around[1], step)
    flat = values.reshape(length, -1)
    out = np.empty((len(centres), flat.shape[1]), np.float32)
    exact: Any = np.float64 if step == 1 else np.float32
    blocks = []
    for start in range(0, len(centres), BLOCK):
        some = centres[start : start + BLOCK]
        near = slice(max(0, int(some[0]) - radius), min(length, int(some[-1]) + radius + 1))
        weights = _weights(some - near.start, near.stop - near.start, sigma, radius)
        blocks.append((start, near, weights.astype(exact)))
    strip = max(1, MOST_AT_ONCE // max(weights.size for _, _, weights in blocks))
    for at in range(0, flat.shape[1], strip):
        part = flat[:, at : at + strip].astype(exact)
        for start, near, weights in blocks:
            out[start : start + len(weights), at : at + strip] = weights @ part[near]
    return out.reshape(-1, *values.shape[1:])


def _weights(centres: np.ndarray, size: int, sigma: float, radius: int) -> np.ndarray:
    """What `size` rows count for in each of the smoothed ones, float64 [centres, size]; the first
    and the last row stand for all beyond them."""
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / sigma**2 * offsets**2)
    kernel /= kernel.sum()
    rows = [
        np.bincount(np.clip(centre + offsets, 0, size - 1), weights=kernel, minlength=size)
        for centre in centres
    ]
    return np.stack(rows)


def _between(samples: np.ndarray, count: int, step: int) -> np.ndarray:
    """Rows between samples: float32 [n, M, 3] → [count, M, 3].

    Row 0 is sample 1, and samples are `step` rows apart; a cubic through the four around a row.
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
