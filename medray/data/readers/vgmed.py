"""VGMED: one list of {image, question, label, bbox}, boxes as [x, y, width, height].

The label names what the boxes show. It is also the answer, unless a row has `answer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.data.regions import box_xywh
from medray.data.rows import (
    FieldError,
    existing_folder,
    infer_answer_type,
    locate_errors,
    mapping,
    optional,
    path_text,
    required,
)
from medray.data.sources import rows_of
from medray.data.splits import Row
from medray.errors import DataError
from medray.records import Case, Region

SOURCE = "vgmed"
IMAGE_FOLDERS = ("", "images")


def read_vgmed(path: str | None) -> Iterator[Row]:
    """All questions of a .json or .jsonl file, or of the only such file in a folder."""
    file = _file(existing_folder(path, SOURCE))
    for number, (where, value) in enumerate(rows_of(file)):
        item = mapping(value, where)
        with locate_errors(where):
            case = _case(item, file.parent, number)
        yield Row(case)


def _file(given: Path) -> Path:
    if given.is_file():
        return given
    files = sorted([*given.glob("*.json"), *given.glob("*.jsonl")])
    if len(files) != 1:
        raise DataError(
            str(given), f"holds {len(files)} .json files, not one", "give the path of the file"
        )
    return files[0]


def _case(item: dict[str, Any], folder: Path, number: int) -> Case:
    name = path_text(item, "image")
    paths = [folder / subfolder / name for subfolder in IMAGE_FOLDERS]
    image = str(next((path for path in paths if path.is_file()), paths[0]))
    label = optional(item, "label")
    answer = optional(item, "answer") or label
    return Case(
        case_id=f"{SOURCE}-{number}",
        image=image,
        image_sha256="",
        question=required(item, "question"),
        reference=answer,
        answer_type=infer_answer_type(answer),
        regions=tuple(Region(label, box=box) for box in _boxes(item.get("bbox"))),
        source=SOURCE,
        licence=optional(item, "licence"),
    )


def _boxes(value: Any) -> Iterator[tuple[int, int, int, int]]:
    """Boxes from [[x, y, width, height], …], or from a single box."""
    if value is None:
        return
    if not isinstance(value, list):
        raise FieldError("bbox", "is not a list of boxes")
    single = bool(value) and not isinstance(value[0], list)
    for index, box in enumerate([value] if single else value):
        yield box_xywh(box, f"bbox[{index}]")
