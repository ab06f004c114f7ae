"""Pictures: what a vision tower is given of an image, as numbers or as levels of grey.

Most image processors do nothing to an image of the model's own size but look up a number for each
level of each channel. Such a picture travels as its levels, a quarter of the bytes, and becomes the
same numbers, to the last bit, where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """codes: uint8 [3, h, w]; table: float32 [3, 256], the numbers of each channel's levels."""

    codes: np.ndarray
    table: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The picture as float32 [3, h, w]."""
        numbers = np.stack([row[own] for row, own in zip(self.table, self.codes, strict=True)])
        return numbers if dtype is None else numbers.astype(dtype)


Picture = np.ndarray | Levels  # float32, of the shape that the architecture says; or its levels


def as_tensor(picture: Picture, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The picture on a device, to which levels travel as such."""
    if isinstance(picture, np.ndarray):
        return torch.from_numpy(picture).to(device, dtype)
    codes = torch.from_numpy(picture.codes).to(device)
    table = torch.from_numpy(picture.table).to(device, dtype)
    return torch.stack([row[own.long()] for row, own in zip(table, codes, strict=True)])
