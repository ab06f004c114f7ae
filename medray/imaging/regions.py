"""Lesion regions as one boolean mask of the image's size."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from medray.errors import ItemError
from medray.imaging.kinds.patch import box_of, grown
from medray.imaging.load import FORMATS, open_bytes
from medray.imaging.masks import marked_pixels
from medray.imaging.reference import Reference, parse_reference
from medray.imaging.scale import MAX_PIXELS
from medray.records import Region

EMBEDDED = "data:image/png;base64,"  # begins a mask that is its own PNG


def region_mask(regions: Iterable[Region], height: int, width: int) -> np.ndarray | None:
    """The union of all boxes and masks: bool [height, width].

    None if no pixel is marked: no regions, empty masks, boxes outside the image.
    Raises ItemError mask-size | mask-missing | mask-unreadable.
    """
    union = np.zeros((height, width), dtype=bool)
    for region in regions:
        if region.box is not None:
            x0, y0, x1, y1 = (max(0, edge) for edge in region.box)
            union[y0:y1, x0:x1] = True
        if region.mask is not None:
            union |= read_mask(region.mask, height, width)
    return union if union.any() else None


def labelled(regions: Iterable[Region], labels: Iterable[str] | None) -> tuple[Region, ...]:
    """The regions with one of these labels, ignoring case; all of them if `labels` is None.

    >>> labelled([Region("Liver", box=(0, 0, 1, 1)), Region("aorta")], ["liver"])[0].label
    'Liver'
    """
    if labels is None:
        return tuple(regions)
    wanted = {label.strip().casefold() for label in labels}
    return tuple(region for region in regions if region.label.strip().casefold() in wanted)


def soft_mask(mask: np.ndarray, feather: int) -> np.ndarray:
    """How much of each pixel is corrupted, float32 [H, W]: 1 in the mask, falling linearly to 0
    over `feather` pixels outside it, and 0 at a greater distance.

    mask: bool [H, W], not empty.
    """
    from scipy.ndimage import distance_transform_edt

    rows, columns = box_of(mask)
    box = grown(rows, feather, mask.shape[0]), grown(columns, feather, mask.shape[1])
    distance = distance_transform_edt(~mask[box])
    soft = np.zeros(mask.shape, np.float32)
    soft[box] = np.where(distance <= feather, 1.0 - distance / (feather + 1.0), 0.0)
    return soft


def read_mask(path: str | Path, height: int, width: int) -> np.ndarray:
    """The marked pixels of a mask (`marked_pixels`): bool [height, width].

    If a value is given after the path ("mask.png#5"), those that have it; palette masks are read
    as indices. A data URI (`embed_mask`) is read like a file. Raises ItemError mask-size |
    mask-missing | mask-unreadable.
    """
    embedded = isinstance(path, str) and path.startswith(EMBEDDED)
    reference = Reference("an embedded mask") if embedded else parse_reference(path)
    with _opened_mask(reference, str(path) if embedded else "") as image:
        if (image.height, image.width) != (height, width):
            size = f"{image.width}x{image.height}"
            what = f"{reference.name}: {size} px, the image has {width}x{height}"
            raise ItemError("mask-size", what)
        if reference.part is None:
            return marked_pixels(image)
        values = np.asarray(image)
        if values.ndim != 2:
            what = f"{reference.name}: its pixels are colours, not values"
            raise ItemError("mask-unreadable", what)
        return values == reference.part


def embed_mask(mask: np.ndarray) -> str:
    """A mask, bool [H, W], as a data URI: plain text that any process can read without a file.

    >>> read_mask(embed_mask(np.eye(2, dtype=bool)), 2, 2).tolist()
    [[True, False], [False, True]]
    """
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask)).save(buffer, format="PNG", optimize=True)
    return EMBEDDED + base64.b64encode(buffer.getvalue()).decode("ascii")


def mask_values(reference: Reference) -> np.ndarray:
    """The pixels of a mask as stored, [H, W] or [H, W, bands].

    Raises ItemError mask-missing | mask-unreadable.
    """
    with _opened_mask(reference) as image:
        return np.asarray(image)


@contextmanager
def _opened_mask(reference: Reference, uri: str = "") -> Iterator[Image.Image]:
    """A mask with its pixels loaded. `uri`: the mask itself, instead of the file.

    Raises ItemError mask-missing | mask-unreadable.
    """
    name = reference.name
    try:
        with ExitStack() as stack:
            source = _embedded_bytes(uri) if uri else stack.enter_context(open_bytes(reference))[0]
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # Pillow's warnings about metadata are of no use here
            image: Image.Image = stack.enter_context(Image.open(source, formats=FORMATS))
            if image.width * image.height > MAX_PIXELS:
                raise ItemError("mask-unreadable", f"{name}: more than {MAX_PIXELS} px")
            image.load()
            kept_format = image.format
            image = ImageOps.exif_transpose(image)
            image.format = kept_format
            yield image
    except ItemError as error:
        reason = error.reason.replace("image-", "mask-")
        if reason not in ("mask-missing", "mask-size", "mask-unreadable"):
            reason = "mask-unreadable"
        raise ItemError(reason, error.what) from None
    except MemoryError:
        raise
    except Exception:  # decoders of damaged files raise almost anything
        raise ItemError("mask-unreadable", f"{name}: not a readable image") from None


def _embedded_bytes(uri: str) -> io.BytesIO:
    try:
        return io.BytesIO(base64.b64decode(uri.removeprefix(EMBEDDED), validate=True))
    except binascii.Error:
        raise ItemError("mask-unreadable", "an embedded mask: not base64") from None


def mask_outline(mask: np.ndarray) -> np.ndarray:
    """The outermost pixels of a mask, for drawing: bool [H, W] → bool [H, W]."""
    from skimage.segmentation import find_boundaries

    # padded, so that a region touching the border gets an outline there as well
    return find_boundaries(np.pad(mask, 1), mode="inner")[1:-1, 1:-1]
