"""Kinds of corruption, one small function each, and the table `KINDS`.

A kind is called with (patch, settings, generator) and returns the corrupted values of the
patch's pixels, float [n, 3] on the 0–255 scale and not clipped, and a description of what it did
("sigma=45"; "" if there is nothing to add). All randomness comes from the generator.

To add one: write the function, add it to `KINDS`, and name it in `CorruptionConfig.kind`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.kinds.cropping import crop
from medray.imaging.kinds.fills import black, blur
from medray.imaging.kinds.inpainting import inpaint
from medray.imaging.kinds.noise import diffusion, gaussian, replacement
from medray.imaging.kinds.patch import Patch

Kind = Callable[[Patch, CorruptionConfig, np.random.Generator], tuple[np.ndarray, str]]

KINDS: dict[str, Kind] = {
    "gaussian": gaussian,
    "diffusion": diffusion,
    "replacement": replacement,
    "black": black,
    "blur": blur,
    "inpaint": inpaint,
    "crop": crop,
}
WHOLE_ONLY = frozenset({"crop"})  # kinds that always change the whole image

__all__ = ["KINDS", "WHOLE_ONLY", "Kind", "Patch"]
