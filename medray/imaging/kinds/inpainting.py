"""Fills the region from its surroundings."""

from __future__ import annotations

import math

import numpy as np

from medray.config import CorruptionConfig
from medray.errors import ItemError
from medray.imaging.kinds.patch import Patch, grown

MAX_PIXELS = 10_000  # solved for at once; the cost grows faster than their number
REACH = 4  # pixels of surroundings; the biharmonic stencil reaches two


def inpaint(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """The smooth continuation of what surrounds the region (scikit-image's biharmonic inpainting).

    Solved on the region's box. More than `MAX_PIXELS` are solved for at reduced size and enlarged
    again; the description then states "scale=1/4". Raises ItemError inpaint-no-surroundings.
    """
    from skimage.restoration import inpaint_biharmonic

    height, width = patch.image.shape[:2]
    unknown_count = int(np.count_nonzero(patch.inside))
    if unknown_count == height * width:
        raise ItemError("inpaint-no-surroundings", "the region is the whole image")
    factor = math.ceil(math.sqrt(unknown_count / MAX_PIXELS))
    rows = grown(patch.rows, REACH * factor, height)
    columns = grown(patch.columns, REACH * factor, width)
    near = patch.image[rows, columns].astype(np.float32)
    unknown = np.zeros(near.shape[:2], bool)
    top, left = patch.rows.start - rows.start, patch.columns.start - columns.start
    box = np.s_[top : top + patch.inside.shape[0], left : left + patch.inside.shape[1]]
    unknown[box] = patch.inside
    if factor == 1:
        filled = inpaint_biharmonic(near, unknown, channel_axis=-1)
        return filled[box][patch.inside], ""
    small, hole = _reduced(near, ~unknown, factor)
    if hole.any() and not hole.all():
        small = inpaint_biharmonic(small, hole, channel_axis=-1)
    filled = _enlarged(small, factor)
    return filled[box][patch.inside], f"scale=1/{factor}"


def _reduced(values: np.ndarray, known: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of the known pixels of each block of factor² pixels, float32 [h, w, 3], and a bool
    [h, w] of blocks without any, so that nothing of the region leaks through."""
    from skimage.measure import block_reduce

    weights = known[..., None].astype(np.float32)
    total = block_reduce(values * weights, (factor, factor, 1), np.sum)
    count = block_reduce(weights, (factor, factor, 1), np.sum)
    return total / np.maximum(count, 1.0), count[..., 0] == 0


def _enlarged(small: np.ndarray, factor: int) -> np.ndarray:
    """float32 [h, w, 3] → [h·factor, w·factor, 3], linear between block centres."""
    from PIL import Image

    height, width = small.shape[:2]
    size = (width * factor, height * factor)
    bands = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(band)).resize(size, Image.Resampling.BILINEAR)
        )
        for band in np.moveaxis(small.astype(np.float32), -1, 0)
    ]
    return np.stack(bands, axis=-1)
