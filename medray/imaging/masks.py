"""Which pixels a mask marks, however it was saved."""

from __future__ import annotations

import numpy as np
from PIL import Image

LABELS = 16  # values beside zero of a mask of labels; a grey one has more
LOSSY = ("JPEG", "MPO")
NOISE = 32  # a compressed mask whose greatest value is below marks nothing
WITH_ALPHA = ("RGBA", "LA", "RGBa", "La", "PA")


def marked_pixels(image: Image.Image) -> np.ndarray:
    """The pixels that a mask marks: bool [H, W].

    Of labels, indices or two values those that are not the background. Of grey values, which
    compression and resizing leave, those of half of the greatest or more. Transparent pixels are
    not marked; if only the transparency differs from pixel to pixel, it is the mask.
    """
    if image.mode == "P":
        return np.asarray(image) != _background(image)
    values = np.asarray(image)
    lossy = image.format in LOSSY
    if image.mode in WITH_ALPHA:
        alpha, colours = values[:, :, -1].astype(np.float64), values[:, :, :-1].max(axis=2)
        opaque = (alpha > 0) & (2 * alpha >= alpha.max())
        if colours.min() == colours.max() and not opaque.all():
            return opaque
        return _not_background(colours, lossy) & opaque
    return _not_background(values.max(axis=2) if values.ndim == 3 else values, lossy)


def _not_background(values: np.ndarray, lossy: bool) -> np.ndarray:
    if values.dtype == np.bool_:
        return values
    finite = np.where(np.isfinite(values), values, 0)
    greatest = float(finite.max())
    if lossy and greatest < NOISE:
        return np.zeros(values.shape, bool)
    if lossy or len(np.unique(finite)) > LABELS + 1:
        return (finite > 0) & (2 * finite.astype(np.float64) >= greatest)
    return finite != 0


def _background(image: Image.Image) -> int:
    """The index of an indexed mask's background: 0, or that of black if 0 has another colour."""
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    black = set(np.flatnonzero(palette.sum(axis=1) == 0).tolist())
    used = set(np.unique(np.asarray(image)).tolist())
    return 0 if 0 in black or not black & used else min(black & used)
