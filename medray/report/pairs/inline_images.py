"""Arrays as inline images: data: URIs, display sizes, and outlines of regions."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

LARGEST = 512  # pixels of the longer side in a report
SMALL = 192  # CSS pixels; smaller images are enlarged to about this, pixel by pixel
DISPLAYED = 400  # CSS pixels of the longer side of all other images


@dataclass(frozen=True, slots=True)
class InlineImage:
    """What the template needs of one image. `outline` is an SVG path in image pixels."""

    uri: str
    width: int
    height: int
    display_width: int  # CSS pixels
    pixelated: bool
    outline: str = ""


def inline_image(
    image: np.ndarray, region: np.ndarray | None = None, *, largest: int = LARGEST
) -> InlineImage:
    """A uint8 image [H, W, 3] and optionally its bool region [H, W], ready for the page.

    `largest`: pixels of the longer side; larger images are scaled down to this.
    """
    height, width = image.shape[:2]
    scale = min(1.0, largest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixelated = max(height, width) < SMALL
    resized = Image.fromarray(np.ascontiguousarray(image))
    if scale < 1.0:
        resized = resized.resize(size, Image.Resampling.LANCZOS)
    return InlineImage(
        uri=_data_uri(resized, lossless=pixelated),
        width=size[0],
        height=size[1],
        display_width=_display_width(*size),
        pixelated=pixelated,
        outline="" if region is None else outline(resized_mask(region, size)),
    )


def resized_mask(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A bool region [H, W] at another size (width, height)."""
    if region.shape == (size[1], size[0]):
        return region
    mask = Image.fromarray(region.astype(np.uint8) * 255)
    return np.asarray(mask.resize(size, Image.Resampling.BILINEAR)) >= 128


def _display_width(width: int, height: int) -> int:
    """CSS pixels; small images are scaled by an integer, so their pixels stay square and equal.

    >>> _display_width(48, 48), _display_width(512, 256), _display_width(256, 512)
    (192, 400, 200)
    """
    longer = max(width, height)
    if longer < SMALL:
        return width * round(SMALL / longer)
    return max(1, round(DISPLAYED * width / longer))


def outline(region: np.ndarray) -> str:
    """The border of a bool region [H, W] as an SVG path along pixel edges; "" if empty."""
    padded = np.pad(region.astype(bool), 1)
    moves = []
    for y, x0, x1 in _runs(padded[1:, 1:-1] != padded[:-1, 1:-1]):
        moves.append(f"M{x0} {y}H{x1}")
    for x, y0, y1 in _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T):
        moves.append(f"M{x} {y0}V{y1}")
    return "".join(moves)


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    """(row, start, end) of every run of true values in the rows of a bool array [R, C]."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    return list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))


def _data_uri(image: Image.Image, *, lossless: bool) -> str:
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=88)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
