"""Parquet files: medray's own cases, or rows in the jsonl layout that contain their images.

    train-00000-of-00002.parquet   columns image ({bytes, path}, or bytes), question, answer

as Hugging Face distributes datasets: one file, or a folder of them. The columns are those of
`medray.data.readers.jsonl`, or `findings` or `report` instead of question and answer. The split
is taken from the column, or else from the file name. Images are referenced by file and row, and
read on demand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from medray.data.readers.jsonl import DEFAULT_ID, read_row
from medray.data.rows import FieldError, existing_folder, locate_errors
from medray.data.sources import parquet_rows
from medray.data.splits import Row
from medray.data.tables import read_cases, written_by_medray
from medray.errors import DataError
from medray.imaging.load import file_sha256
from medray.imaging.reference import parse_reference

SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "heldout",
}
NAMED_AFTER = re.compile(rf"({'|'.join(SPLITS)})(?![a-z])")
REPORTS = ("findings", "report")
REPORT_QUESTION = "Describe the findings of this image."


def read_parquet(path: str | None) -> Iterator[Row]:
    """The rows of a file, or of all files of a folder, sorted by path.

    Raises DataError naming the file, the row and the column at fault.
    """
    given = existing_folder(path, "parquet")
    if given.is_file() and written_by_medray(given):
        yield from read_cases(str(given))
        return
    files = [given] if given.is_file() else sorted(given.rglob("*.parquet"))
    if not files:
        raise DataError(str(given), "holds no .parquet file", "give a file or a folder of them")
    seen: set[str] = set()
    number = 0
    for file in files:
        split = _split_of(file)
        for where, item in parquet_rows(file):
            number += 1
            with locate_errors(where):
                row = read_row(_exchange(item, split), file.parent, f"{DEFAULT_ID}-{number}")
                if row.case.case_id in seen:
                    raise FieldError("id", f"{row.case.case_id!r} occurs twice")
            seen.add(row.case.case_id)
            yield _with_digest(row)


def _with_digest(row: Row) -> Row:
    """With the digests of images that lie in the table: here their bytes are at hand."""
    first, *others = (
        replace(image, sha256=file_sha256(image.path))
        if parse_reference(image.path).column
        else image
        for image in row.case.images
    )
    case = replace(row.case, image_sha256=first.sha256, other_images=tuple(others))
    return replace(row, case=case)


def _split_of(file: Path) -> str:
    """The split that the file, or else its folder, is named after; "" if neither is."""
    for text in (file.name, file.parent.name):
        if match := NAMED_AFTER.match(text.lower()):
            return SPLITS[match[1]]
    return ""


def _exchange(item: dict[str, Any], split: str) -> dict[str, Any]:
    """A row with its split, and with question and answer if it is a report."""
    if item.get("split") is None:
        item["split"] = split
    elif str(item["split"]).lower() in SPLITS:
        item["split"] = SPLITS[str(item["split"]).lower()]
    report = next((name for name in REPORTS if name in item), None)
    if report is not None and "answer" not in item:
        question = {"question": item.get("question") or REPORT_QUESTION}
        item |= question | {"answer": item[report], "answer_type": "report"}
    return item
