"""Replaces the image by an enlarged part of it."""

from __future__ import annotations

import math

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.kinds.patch import Patch

RATIO = (3.0 / 4.0, 4.0 / 3.0)  # width to height, as in torchvision


def crop(
    patch: Patch, settings: CorruptionConfig, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """A random box with `crop_scale` of the area, enlarged to the size of the image.

    mDPO (arXiv 2406.11839): RandomResizedCrop, scale .01 to .2. The area is uniform and the
    aspect ratio log-uniform; a side that would not fit is clipped to the image's. The description
    states the box.
    """
    from PIL import Image

    height, width = patch.image.shape[:2]
    area = rng.uniform(*settings.crop_scale) * height * width
    ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
    w = min(width, max(1, round(math.sqrt(area * ratio))))
    h = min(height, max(1, round(math.sqrt(area / ratio))))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    part = Image.fromarray(np.ascontiguousarray(patch.image[y : y + h, x : x + w]))
    enlarged = np.asarray(part.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    return enlarged[patch.rows, patch.columns][patch.inside], f"box={x},{y},{x + w},{y + h}"
