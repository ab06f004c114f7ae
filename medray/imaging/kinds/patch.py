"""The input of a kind of corruption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """n pixels of an image, and their bounding box.

    `image`: uint8 [H, W, 3], must not be modified; `rows`, `columns`: the box; `inside`: bool
    [h, w], the n pixels within the box.
    """

    image: np.ndarray
    rows: slice
    columns: slice
    inside: np.ndarray

    @classmethod
    def around(cls, image: np.ndarray, mask: np.ndarray) -> Patch:
        """The patch of the pixels of `mask`, bool [H, W], not empty."""
        rows, columns = box_of(mask)
        return cls(image, rows, columns, mask[rows, columns])

    def pixels(self) -> np.ndarray:
        """The n original pixels, row by row: uint8 [n, 3]."""
        return self.chosen(self.image[self.rows, self.columns])

    def chosen(self, box: np.ndarray) -> np.ndarray:
        """The n pixels out of the values of the box: [h, w, 3] → [n, 3], a view if possible."""
        return box.reshape(-1, 3) if self.inside.all() else box[self.inside]


def box_of(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the bounding box of a mask, bool [H, W], not empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def grown(part: slice, by: int, length: int) -> slice:
    """A slice extended by `by` at both ends, within [0, length)."""
    return slice(max(0, part.start - by), min(length, part.stop + by))
