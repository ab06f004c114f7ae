"""An image at the resolution at which the model sees it, and its regions at that scale.

A radiograph has sixty times the pixels that a vision tower takes. It is resized when it is read:
everything after that costs as much as for a small file, and noise of v' is not averaged away by
the model's own processor.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from medray.config import CorruptionConfig
from medray.errors import ItemError
from medray.imaging.corruption import Corrupted, corrupt, noted
from medray.imaging.load import read_image
from medray.imaging.regions import embed_mask, read_mask
from medray.records import Region

Size = tuple[int, int]  # height, width
_FILTERS = "|".join(each.name.lower() for each in Image.Resampling)
_NOTE = re.compile(rf"(?:^| )at=(?P<width>\d{{1,5}})x(?P<height>\d{{1,5}})/(?P<filter>{_FILTERS})$")
ViewSize = Callable[[Size], Size]  # of an image → of its view


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """`pixels`: uint8 [h, w, 3]; `size`: height and width of the image itself."""

    pixels: np.ndarray
    size: Size

    def regions(self, regions: Iterable[Region]) -> tuple[Region, ...]:
        """Regions of the image as regions of the view: whatever they touch is in them.

        A mask that cannot be read stays as it is: it is an error for who reads it, and many never
        do, such as an evaluation.
        """
        view = self.pixels.shape[0], self.pixels.shape[1]
        if view == self.size:
            return tuple(regions)
        return tuple(_scaled(region, self.size, view) for region in regions)


def load_view(path: str, view_size: ViewSize, resample: Image.Resampling) -> View:
    """Read an image, resized to its view. Raises ItemError as `load_image` does."""
    return View(*read_image(path, view_size, resample))


def corrupt_view(
    pixels: np.ndarray,
    regions: Iterable[Region],
    config: CorruptionConfig,
    *,
    seed: int,
    resample: Image.Resampling,
) -> Corrupted | None:
    """v' of a view, as `corrupt` makes it, with the scale at which it was made in its kind."""
    note = scale_note(pixels, resample)
    return noted(corrupt(pixels, regions, config, seed=seed), note)


def scale_note(pixels: np.ndarray, resample: Image.Resampling) -> str:
    """The scale at which a view was corrupted, for the ledger: its width and height.

    >>> scale_note(np.zeros((403, 336, 3), np.uint8), Image.Resampling.BILINEAR)
    'at=336x403/bilinear'
    """
    return f"at={pixels.shape[1]}x{pixels.shape[0]}/{resample.name.lower()}"


def load_noted_view(path: str, corruption: str) -> View:
    """The view that the description of a v' tells of (`scale_note`); the image itself if none."""
    match = _NOTE.search(corruption)
    if match is None:
        return load_view(path, lambda size: size, Image.Resampling.BICUBIC)
    size = int(match["height"]), int(match["width"])
    return load_view(path, lambda _: size, Image.Resampling[match["filter"].upper()])


def _scaled(region: Region, size: Size, view: Size) -> Region:
    box, mask = region.box, region.mask
    if box is not None:
        x0, x1 = _touched(box[0], box[2], size[1], view[1])
        y0, y1 = _touched(box[1], box[3], size[0], view[0])
        box = (x0, y0, x1, y1)
    if mask is not None:
        with contextlib.suppress(ItemError):
            mask = embed_mask(_reduced_mask(read_mask(mask, *size), view))
    return replace(region, box=box, mask=mask)


def _touched(start: int, end: int, size: int, view: int) -> tuple[int, int]:
    """The range of the view's pixels that hold any of the pixels start … end-1."""
    return start * view // size, -(-end * view // size)


def _reduced_mask(mask: np.ndarray, view: Size) -> np.ndarray:
    """bool [H, W] → bool [h, w]: the pixels of the view that hold any marked pixel."""
    rows = [_touched(i, i + 1, view[0], mask.shape[0]) for i in range(view[0])]
    columns = [_touched(i, i + 1, view[1], mask.shape[1]) for i in range(view[1])]
    by_row = np.stack([mask[start:end].any(axis=0) for start, end in rows])
    return np.stack([by_row[:, start:end].any(axis=1) for start, end in columns], axis=1)
