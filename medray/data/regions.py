"""The lesion regions of one JSON row: boxes, masks, or both."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from medray.data.rows import FieldError
from medray.records import Region


def read_regions(item: dict[str, Any], folder: Path) -> tuple[Region, ...]:
    """`regions` of a row, or else its `mask` paths, or else its `boxes`. Raises FieldError.

    Each is on the first image, or on the one that its `image` gives, from 0. Masks take precedence
    over boxes of the same row, which may only be their bounding boxes.
    """
    if item.get("regions") is not None:
        entries = _list(item["regions"], "regions")
        return tuple(_region(entry, folder, i) for i, entry in enumerate(entries))
    if item.get("mask"):
        masks = [item["mask"]] if isinstance(item["mask"], str) else _list(item["mask"], "mask")
        labels = item.get("label")
        named = isinstance(labels, list) and len(labels) == len(masks)
        names = labels if named else [labels] * len(masks)
        return tuple(
            Region(label=_label(name), mask=_mask(mask, folder, f"mask[{i}]"))
            for i, (mask, name) in enumerate(zip(masks, names or (), strict=True))
        )
    boxes = _list(item.get("boxes") or [], "boxes")
    return tuple(_boxed(entry, "xyxy", f"boxes[{i}]") for i, entry in enumerate(boxes))


def _region(entry: Any, folder: Path, index: int) -> Region:
    field = f"regions[{index}]"
    if not isinstance(entry, dict):
        raise FieldError(field, "is not a mapping")
    has_box, has_mask = entry.get("box") is not None, entry.get("mask") is not None
    if has_box == has_mask:
        raise FieldError(field, "needs a box or a mask, and not both")
    if has_box:
        return _boxed(entry, "box", field)
    mask = _mask(entry["mask"], folder, f"{field}.mask")
    image = _image(entry, field)
    return Region(_label(entry.get("label")), mask=mask, source=_source(entry), image=image)


def _boxed(entry: Any, key: str, field: str) -> Region:
    if not isinstance(entry, dict) or key not in entry:
        raise FieldError(field, f"has no {key}")
    return Region(
        _label(entry.get("label")),
        box=_box(entry[key], f"{field}.{key}"),
        source=_source(entry),
        image=_image(entry, field),
    )


def _image(entry: dict[str, Any], field: str) -> int:
    """The number of the image that a region is on."""
    value = entry.get("image", 0)
    if type(value) is not int or value < 0:
        raise FieldError(f"{field}.image", "is not the number of an image, counted from 0")
    return value


def _box(value: Any, field: str) -> tuple[int, int, int, int]:
    """[x0, y0, x1, y1], enlarged to whole pixels."""
    if not _four_numbers(value):
        raise FieldError(field, "is not [x0, y0, x1, y1] in pixels")
    x0, y0, x1, y1 = value
    if all(0 <= edge <= 1 for edge in value) and any(edge != int(edge) for edge in value):
        raise FieldError(field, "is in fractions of the image; multiply by its width and height")
    if not (x0 < x1 and y0 < y1):
        raise FieldError(field, "is empty: x0 < x1 and y0 < y1 are needed")
    if x1 <= 0 or y1 <= 0:
        raise FieldError(field, "lies outside the image")
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)


def box_xywh(value: Any, field: str) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of [x, y, width, height], enlarged to whole pixels. Raises FieldError."""
    if not _four_numbers(value):
        raise FieldError(field, "is not [x, y, width, height] in pixels")
    x, y, width, height = value
    return _box([x, y, x + width, y + height], field)


def _four_numbers(value: Any) -> bool:
    numbers = isinstance(value, list) and all(type(edge) in (int, float) for edge in value)
    return numbers and len(value) == 4 and all(math.isfinite(edge) for edge in value)


def _mask(value: Any, folder: Path, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise FieldError(field, "is not the path of a mask")
    return str(folder / value)


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise FieldError(field, "is not a list")
    return value


def _label(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _source(entry: dict[str, Any]) -> str:
    value = entry.get("source")
    return value if isinstance(value, str) and value else "dataset"
