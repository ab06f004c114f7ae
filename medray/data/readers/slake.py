"""SLAKE in its own layout: a JSON list per split, and a folder per image.

    train.json  validation.json  test.json  mask.txt
    imgs/xmlab1/source.jpg  detection.json  mask.png

The regions of an image are its organs and lesions: the pixels of each value of mask.png that
mask.txt names, and the boxes of detection.json for structures that the mask lacks. If the question
or the answer names some of them, only those are kept. A .jsonl file of {"image", "boxes",
"qa_en"} is read as well: boxes and English questions without the images.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.data.regions import box_xywh
from medray.data.rows import (
    FieldError,
    existing_file,
    existing_folder,
    locate_errors,
    mapping,
    optional,
    parse_json,
    path_text,
    read_text,
    required,
    words,
)
from medray.data.sources import json_items, json_lines
from medray.data.splits import Row
from medray.errors import DataError, ItemError
from medray.imaging.reference import Reference
from medray.imaging.regions import mask_values
from medray.records import AnswerType, Case, Region

SPLITS = {"train": "train", "validation": "validation", "validate": "validation", "test": "heldout"}
ANSWER_TYPES: dict[str, AnswerType] = {"CLOSED": "closed", "OPEN": "open"}
SOURCE, LICENCE = "slake", "CC-BY-4.0"
# "3 Liver", "Liver: 3", …
MASK_LINE = re.compile(r"\s*(?:(\d+)\s*[:=,\t ]\s*(\S.*?)|(\S.*?)\s*[:=,\t ]\s*(\d+))\s*")


def read_slake(path: str | None) -> Iterator[Row]:
    """The English questions, in file order."""
    given = existing_folder(path, "slake")
    yield from _text_only(given) if given.is_file() else _folder(given, "en")


def read_slake_zh(path: str | None) -> Iterator[Row]:
    """The Chinese questions, in file order."""
    yield from _folder(existing_folder(path, "slake-zh"), "zh")


def _folder(folder: Path, language: str) -> Iterator[Row]:
    existing_file(folder, ("train.json",), "SLAKE")
    regions = functools.lru_cache(maxsize=64)(lambda name: _regions(folder, name))
    for stem, split in SPLITS.items():
        file = folder / f"{stem}.json"
        duplicate = stem == "validate" and (folder / "validation.json").is_file()
        if duplicate or not file.is_file():
            continue
        for number, (_, where, value) in enumerate(json_items(file)):
            item = mapping(value, where)
            with locate_errors(where):
                if required(item, "q_lang") != language:
                    continue
                name = path_text(item, "img_name")
                image = str(folder / "imgs" / name)
                case_id = f"{SOURCE}-{stem}-{number}"
                yield Row(_case(item, case_id, image, regions(name)), split=split)


def _text_only(file: Path) -> Iterator[Row]:
    for number, (where, value) in enumerate(json_lines(file)):
        row = mapping(value, where)
        with locate_errors(where):
            image = str(file.parent / path_text(row, "image"))
            regions = tuple(
                Region(words(box.get("label")), box=box_xywh(box.get("xywh"), f"boxes[{i}].xywh"))
                for i, box in enumerate(_mappings(row, "boxes"))
            )
            for i, item in enumerate(_mappings(row, "qa_en")):
                case = _case(item, f"{SOURCE}-text-{number}-{i}", image, regions)
                yield Row(case)


def _case(item: dict[str, Any], case_id: str, image: str, regions: tuple[Region, ...]) -> Case:
    answer_type = required(item, "answer_type").upper()
    if answer_type not in ANSWER_TYPES:
        raise FieldError("answer_type", f"{answer_type!r} is not CLOSED or OPEN")
    question, answer = required(item, "question"), optional(item, "answer")
    return Case(
        case_id=case_id,
        image=image,
        image_sha256="",
        question=question,
        reference=answer,
        answer_type=ANSWER_TYPES[answer_type],
        regions=named_regions(regions, f"{question} {answer}"),
        source=SOURCE,
        licence=LICENCE,
    )


def named_regions(regions: tuple[Region, ...], text: str) -> tuple[Region, ...]:
    """The regions that a text names in full, or else by their last word, or else all.

    >>> [r.label for r in named_regions((Region("Left Lung"), Region("Heart")), "a clear lung?")]
    ['Left Lung']
    """
    plain = " ".join(re.findall(r"\w+", text.lower()))
    for label in (lambda r: r.label, lambda r: r.label.split(" ")[-1]):
        named = tuple(r for r in regions if _mentions(plain, label(r).lower()))
        if named:
            return named
    return regions


def _mentions(text: str, name: str) -> bool:
    return bool(name) and re.search(rf"\b{re.escape(name)}s?\b", text) is not None


def _regions(folder: Path, name: str) -> tuple[Region, ...]:
    """The masks, which are exact, then the boxes of structures without a mask."""
    image_folder = (folder / "imgs" / name).parent
    mask, file = image_folder / "mask.png", image_folder / "detection.json"
    names = folder / "mask.txt"
    masks = _masks(mask, names) if mask.is_file() and names.is_file() else ()
    if not file.is_file():
        return masks
    entries = parse_json(read_text(file), str(file))
    masked = {_structure(region.label) for region in masks}
    with locate_errors(str(file)):
        return masks + tuple(box for box in _boxes(entries) if _structure(box.label) not in masked)


def _structure(label: str) -> tuple[str, ...]:
    """The same for "Left Lung" and "lung_left"."""
    return tuple(sorted(re.findall(r"[^\W_]+", label.casefold())))


def _boxes(entries: Any) -> Iterator[Region]:
    """The regions of [{"Liver": [x, y, width, height]}, …]."""
    if not isinstance(entries, list):
        raise FieldError("the file", "is not a list")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise FieldError(f"entry {number}", "is not a mapping")
        for label, box in entry.items():
            yield Region(words(label), box=box_xywh(box, f"entry {number}: {label}"))


def _masks(mask: Path, names: Path) -> tuple[Region, ...]:
    """A region per value of an indexed mask that mask.txt names; none for a colour mask."""
    import numpy as np

    labels = mask_labels(names)
    try:
        values = mask_values(Reference(str(mask)))
    except ItemError as error:
        raise DataError(str(mask), error.what, "download it again") from None
    if values.ndim != 2:
        return ()
    return tuple(
        Region(labels[int(value)], mask=f"{mask}#{value}", source="mask")
        for value in np.unique(values)
        if int(value) in labels
    )


@functools.cache
def mask_labels(file: Path) -> dict[int, str]:
    """Pixel value → organ, without zero, the background."""
    labels: dict[int, str] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        match = MASK_LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{file}:{number}", "is not a number and a name", "correct the line")
        labels[int(match[1] or match[4])] = (match[2] or match[3]).strip()
    labels.pop(0, None)
    return labels


def _mappings(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise FieldError(key, "is not a list of mappings")
    return value
