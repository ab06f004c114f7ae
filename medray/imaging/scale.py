"""Values of any bit depth to 8 bits, and the largest image that is read."""

from __future__ import annotations

import numpy as np

# 240 MB in RGB: larger than any radiograph, too small for a decompression bomb to do harm.
MAX_PIXELS = 80_000_000


def by_range(values: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Scale values linearly so that their own minimum is 0 and their maximum 255.

    values: any real dtype, [H, W]; `valid`: bool [H, W], pixels that determine the range.
    A constant image becomes 0. Infinite values and those that are not numbers determine no range;
    the latter become 0. Returns uint8 [H, W].
    """
    values = values.astype(np.float64)
    counted = np.isfinite(values)
    if valid is not None and (counted & valid).any():
        counted &= valid
    if not counted.any():
        return np.zeros(values.shape, np.uint8)
    return between(values, float(values[counted].min()), float(values[counted].max()))


def between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale values so that `low` is 0 and `high` 255, clipped. Returns uint8, same shape."""
    if high == low:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.rint(np.nan_to_num(shares) * 255.0).astype(np.uint8)
