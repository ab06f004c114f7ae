"""A contact sheet: one row per image, one column per kind of corruption."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medray.errors import DataError, ItemError
from medray.imaging.corrupt_files.corrupt_file import (
    STRENGTH,
    Box,
    check_paths,
    read_pair,
    settings_of,
    write,
)
from medray.imaging.corruption import corrupt_inside
from medray.imaging.kinds import KINDS, WHOLE_ONLY
from medray.imaging.kinds.patch import box_of
from medray.imaging.regions import mask_outline

TILE = 160  # pixels a side
CAPTION = 16  # pixels above the first row
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
YELLOW = (255, 220, 0)


def write_sheet(
    images: Sequence[Path],
    out: Path,
    *,
    masks: Sequence[Path] = (),
    boxes: Sequence[Box] = (),
    seed: int = 0,
    **options: Any,
) -> int:
    """Write every kind for each image, with its region outlined in the first column.

    Masks, or else boxes, belong to the images in order. Tiles show a square around the region;
    for a kind that changes the whole image, they show all of it. Returns the number of images.
    Raises DataError.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise DataError(str(out), "not a .png or .jpg", "use one of these suffixes")
    given = len(masks) + len(boxes)
    if given != len(images) or (masks and boxes):
        what = f"{len(images)} images, {len(masks)} masks, {len(boxes)} boxes"
        raise DataError("--kind all", what, "give one --mask or --box per image")
    rows = []
    for i, image in enumerate(images):
        mask, box = (masks[i] if masks else None), (boxes[i] if boxes else None)
        check_paths(out, Path(image), mask)
        pixels, region = read_pair(Path(image), mask, box)
        assert region is not None  # one of the two was given
        rows.append(np.hstack(_tiles(pixels, region, seed, options)))
    sheet = Image.fromarray(np.vstack([_captions(), *rows]))
    stream = io.BytesIO()
    sheet.save(stream, format=FORMATS[out.suffix.lower()], quality=85)
    write(out, stream.getvalue())
    return len(images)


def _tiles(
    pixels: np.ndarray, region: np.ndarray, seed: int, options: dict[str, Any]
) -> list[np.ndarray]:
    """The image and then each kind: uint8 [TILE, TILE, 3]."""
    window = _window(region)
    marked = pixels.copy()
    marked[mask_outline(region)] = YELLOW
    tiles = [_tile(marked[window])]
    for kind in KINDS:
        chosen = {k: v for k, v in options.items() if k != "sigma" or kind in STRENGTH}
        try:
            result = corrupt_inside(pixels, region, "", settings_of(kind, False, **chosen), seed)
        except ItemError:
            tiles.append(np.full((TILE, TILE, 3), 255, np.uint8))
            continue
        tiles.append(_tile(result.image if kind in WHOLE_ONLY else result.image[window]))
    return tiles


def _window(region: np.ndarray) -> tuple[slice, slice]:
    """A square around a region, 1.5 times as wide, clipped to the image."""
    rows, columns = box_of(region)
    height, width = region.shape
    longest = max(rows.stop - rows.start, columns.stop - columns.start)
    side = max(int(1.5 * longest), TILE // 2)

    def around(part: slice, length: int) -> slice:
        size = min(side, length)
        start = min(max(0, (part.start + part.stop - size) // 2), length - size)
        return slice(start, start + size)

    return around(rows, height), around(columns, width)


def _tile(pixels: np.ndarray) -> np.ndarray:
    """Pixels scaled to fit, centred on a white square with a margin of one pixel."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = (TILE - 2) / max(image.size)
    width, height = (max(1, round(edge * scale)) for edge in image.size)
    tile = Image.new("RGB", (TILE, TILE), "white")
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    tile.paste(resized, ((TILE - width) // 2, (TILE - height) // 2))
    return np.asarray(tile)


def _captions() -> np.ndarray:
    names = ["image", *KINDS]
    strip = Image.new("RGB", (TILE * len(names), CAPTION), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
    for i, name in enumerate(names):
        draw.text((i * TILE + 3, 1), name, fill="black", font=font)
    return np.asarray(strip)
