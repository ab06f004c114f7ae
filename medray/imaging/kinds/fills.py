"""Black, and blur."""

from __future__ import annotations

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.kinds.patch import Patch, grown

REACH = 4.0  # of the blur, in sigmas: scikit-image's own
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

    The same numbers as `skimage.filters.gaussian` (float32 between the axes, borders repeated),
    which smooths every row it is given: here only those of the region are, as products of
    matrices, which makes the wide default some twenty times as fast.
    """
    radius = int(REACH * settings.sigma + 0.5)
    height, width = patch.image.shape[:2]
    rows, columns = grown(patch.rows, radius, height), grown(patch.columns, radius, width)
    near = patch.image[rows, columns]
    down = _smooth(near, _within(patch.rows, rows), settings.sigma, radius)
    across = _smooth(
        down.transpose(1, 0, 2), _within(patch.columns, columns), settings.sigma, radius
    )
    return across.transpose(1, 0, 2)[patch.inside], f"sigma={settings.sigma:g}"


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _smooth(values: np.ndarray, wanted: slice, sigma: float, radius: int) -> np.ndarray:
    """Smooth along the first axis: [N, M, 3] → float32 [n, M, 3], the wanted rows.

    What lies beyond the first and the last row is as they are.
    """
    length, count = len(values), wanted.stop - wanted.start
    flat = values.reshape(length, -1)
    out = np.empty((count, flat.shape[1]), np.float32)
    blocks = []
    for start in range(0, count, BLOCK):
        here = slice(wanted.start + start, min(wanted.start + start + BLOCK, wanted.stop))
        near = grown(here, radius, length)
        blocks.append((start, near, _weights(here, near, sigma, radius)))
    step = max(1, MOST_AT_ONCE // max(weights.size for _, _, weights in blocks))
    for at in range(0, flat.shape[1], step):
        strip = flat[:, at : at + step].astype(np.float64)
        for start, near, weights in blocks:
            out[start : start + len(weights), at : at + step] = weights @ strip[near]
    return out.reshape(count, *values.shape[1:])


def _weights(here: slice, near: slice, sigma: float, radius: int) -> np.ndarray:
    """What the rows of `near` count for in each row of `here`, float64 [here, near]; the first
    and the last row of `near` stand for all beyond them."""
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / sigma**2 * offsets**2)
    kernel /= kernel.sum()
    size = near.stop - near.start
    rows = [
        np.bincount(np.clip(i + offsets, 0, size - 1), weights=kernel, minlength=size)
        for i in range(here.start - near.start, here.stop - near.start)
    ]
    return np.stack(rows)
