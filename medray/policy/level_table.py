"""Finds out whether an image processor only looks numbers up, and then does it in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from medray.policy.picture import Levels

Process = Callable[[np.ndarray], np.ndarray]  # uint8 image [H, W, 3] → picture
LEVELS, CHANNELS = 256, 3
ENOUGH = 8 * LEVELS  # pixels: random ones hold every level
MARGINS = ((1, 0), (3, 0), (6, 0), (0, 1), (0, 3), (0, 6))  # rows and columns to be cut off


@dataclass(frozen=True, slots=True, eq=False)
class LevelTable:
    """table: float32 [3, 256]; size: of pictures, (height, width); cuts: whether longer edges are
    simply cut off on both sides."""

    table: np.ndarray
    size: tuple[int, int]
    cuts: bool = True

    def look_up(self, image: np.ndarray) -> Levels | None:
        """The picture of an image [H, W, 3]; None unless it has the size, or one edge too long."""
        height, width = self.size
        more = image.shape[0] - height, image.shape[1] - width
        if min(more) != 0 or (max(more) > 0 and not self.cuts):
            return None
        top, left = more[0] // 2, more[1] // 2
        seen = image[top : top + height, left : left + width]
        return Levels(np.ascontiguousarray(seen.transpose(2, 0, 1)), self.table)


def find_level_table(process: Process, image: np.ndarray) -> LevelTable | None:
    """The table of a processor; None if it does anything else.

    `image`: of any size that it takes. What is claimed is tried on images that hold every level in
    every channel, with and without edges.
    """
    shape = process(image).shape
    if len(shape) != CHANNELS or shape[0] != CHANNELS or shape[1] * shape[2] < ENOUGH:
        return None
    height, width = shape[1:]
    found = LevelTable(np.zeros((CHANNELS, LEVELS), np.float32), (height, width))
    probe = _noise(height, width, 0)
    channels = zip(found.table, probe.transpose(2, 0, 1), process(probe), strict=True)
    for row, codes, numbers in channels:
        row[codes] = numbers
    if not _agrees(found, process, 0, 0):
        return None
    return replace(found, cuts=all(_agrees(found, process, *more) for more in MARGINS))


def _agrees(found: LevelTable, process: Process, rows: int, columns: int) -> bool:
    """Whether the processor looks up the same of an image with so many rows and columns more."""
    probe = _noise(found.size[0] + rows, found.size[1] + columns, 1 + rows + columns)
    picture, levels = process(probe), found.look_up(probe)
    return levels is not None and np.array_equal(picture, np.asarray(levels))


def _noise(height: int, width: int, seed: int) -> np.ndarray:
    """An image whose every pixel is chance; its first ones go through all levels."""
    image = np.random.default_rng(seed).integers(0, LEVELS, (height, width, CHANNELS), np.uint8)
    middle = image[height // 2 - height // 4 :].reshape(-1, CHANNELS)
    middle[:LEVELS] = np.arange(LEVELS, dtype=np.uint8)[:, None]
    return image
