"""An image at the resolution at which the model sees it, and its regions at that scale.

A radiograph has sixty times the pixels that a vision tower takes. It is resized when it is read:
everything after that costs as much as for a small file, and noise of v' is not averaged away by
the model's own processor.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from medray.config import CorruptionConfig
from medray.errors import ItemError
from medray.imaging.corruption import Contrast, corrupt_images, noted
from medray.imaging.load import read_image
from medray.imaging.regions import embed_mask, read_mask
from medray.records import Region

Size = tuple[int, int]  # height, width
_FILTERS = "|".join(each.name.lower() for each in Image.Resampling)
_SIZE = r"\d{1,5}x\d{1,5}"
_NOTE = re.compile(rf"(?:^| )at=(?P<sizes>{_SIZE}(?:,{_SIZE})*)/(?P<filter>{_FILTERS})$")
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


def case_regions(views: Sequence[View], regions: Iterable[Region]) -> tuple[Region, ...]:
    """A case's regions, each as one of the view of its image (`View.regions`), in order.

    Raises ItemError("mask-missing") for one of an image that the case lacks.
    """
    found: list[Region] = []
    for region in regions:
        if not 0 <= region.image < len(views):
            raise ItemError("mask-missing", f"a region is on image {region.image}")
        found += views[region.image].regions([region])
    return tuple(found)


def corrupt_views(
    views: Sequence[np.ndarray],
    regions: Iterable[Region],
    config: CorruptionConfig,
    *,
    seed: int,
    resample: Image.Resampling,
) -> Contrast | None:
    """v' of a case's views, as `corrupt_images` makes it, with the scale at which it was made in
    its kind."""
    note = scale_note(views, resample)
    return noted(corrupt_images(views, regions, config, seed=seed), note)


def scale_note(views: Sequence[np.ndarray], resample: Image.Resampling) -> str:
    """The scale at which views were corrupted, for the ledger: their widths and heights.

    >>> scale_note([np.zeros((403, 336, 3), np.uint8)], Image.Resampling.BILINEAR)
    'at=336x403/bilinear'
    """
    sizes = ",".join(f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in views)
    return f"at={sizes}/{resample.name.lower()}"


def load_noted_views(paths: Sequence[str], corruption: str) -> list[View]:
    """The views that the description of a v' tells of (`scale_note`); the images themselves if
    it does not."""
    match = _NOTE.search(corruption)
    sizes = match["sizes"].split(",") if match else []
    if match is None or len(sizes) != len(paths):
        return [load_view(path, lambda size: size, Image.Resampling.BICUBIC) for path in paths]
    resample = Image.Resampling[match["filter"].upper()]
    return [_load_at(path, size, resample) for path, size in zip(paths, sizes, strict=True)]


def _load_at(path: str, size: str, resample: Image.Resampling) -> View:
    """An image at a size given as "336x403": its width and height."""
    width, height = map(int, size.split("x"))
    return load_view(path, lambda _: (height, width), resample)


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
