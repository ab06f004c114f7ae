"""What a kind of corruption gets to see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """n pixels of an image, and the smallest box that holds them.

    `image`: uint8 [H, W, 3], not to be changed; `rows`, `columns`: the box; `inside`: bool
    [h, w], the n pixels within the box.
    """

    image: np.ndarray
    rows: slice
    columns: slice
    inside: np.ndarray

    @classmethod
    def around(cls, image: np.ndarray, where: np.ndarray) -> Patch:
        """The patch of the pixels of `where`, bool [H, W], of which there is at least one."""
        rows, columns = box_of(where)
        return cls(image, rows, columns, where[rows, columns])

    def pixels(self) -> np.ndarray:
        """The n pixels as they are, row by row: uint8 [n, 3]."""
        return self.chosen(self.image[self.rows, self.columns])

    def chosen(self, box: np.ndarray) -> np.ndarray:
        """The n pixels of values of the box: [h, w, 3] → [n, 3], a view where it can be."""
        return box.reshape(-1, 3) if self.inside.all() else box[self.inside]


def box_of(where: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around the pixels of a bool [H, W], not empty."""
    rows = np.flatnonzero(where.any(axis=1))
    columns = np.flatnonzero(where[rows[0] : rows[-1] + 1].any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def grown(part: slice, by: int, length: int) -> slice:
    """A slice made longer by `by` at both ends, as far as [0, length) goes."""
    return slice(max(0, part.start - by), min(length, part.stop + by))
