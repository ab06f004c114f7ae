"""Parquet files: medray's own cases, or rows in the layout of jsonl that hold their pictures.

    train-00000-of-00002.parquet   columns image ({bytes, path}, or bytes), question, answer

as Hugging Face distributes datasets: one file, or a folder of them. Beside the columns of
`medray.data.readers.jsonl` a table may have `findings` or `report` instead of question and
answer. The split is that of the column, or else what a file is named after. Pictures stay where
they are until they are needed, and are named by file and row.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.data.readers.jsonl import read_row
from medray.data.rows import FieldError, existing_folder, locate_errors
from medray.data.sources import parquet_rows
from medray.data.splits import Row
from medray.data.tables import read_cases, written_by_medray
from medray.errors import DataError
from medray.imaging.load import file_sha256

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
    """The rows of a file, or of all files of a folder by the order of their paths.

    Raises DataError naming the file, the row and the column at fault.
    """
    given = existing_folder(path, "parquet")
    if given.is_file() and written_by_medray(given):
        yield from read_cases(str(given))
        return
    files = [given] if given.is_file() else sorted(given.rglob("*.parquet"))
    if not files:
        raise DataError(str(given), "holds no .parquet file", "give a file or a folder of them")
    digest = functools.cache(file_sha256)
    name = given.absolute().stem if given.is_file() else given.absolute().name
    seen: set[str] = set()
    number = 0
    for file in files:
        split = _split_of(file)
        for where, item in parquet_rows(file):
            number += 1
            with locate_errors(where):
                row = read_row(_exchange(item, split), file.parent, f"{name}-{number}", digest)
                if row.case.case_id in seen:
                    raise FieldError("id", f"{row.case.case_id!r} occurs twice")
            seen.add(row.case.case_id)
            yield row


def _split_of(file: Path) -> str:
    """What the file, or its folder, is named after; "" where that is no split."""
    for text in (file.name, file.parent.name):
        if found := NAMED_AFTER.match(text.lower()):
            return SPLITS[found[1]]
    return ""


def _exchange(item: dict[str, Any], split: str) -> dict[str, Any]:
    """A row with its split, and with question and answer where it is a report."""
    if item.get("split") is None:
        item["split"] = split
    elif str(item["split"]).lower() in SPLITS:
        item["split"] = SPLITS[str(item["split"]).lower()]
    report = next((name for name in REPORTS if name in item), None)
    if report is not None and "answer" not in item:
        asked = {"question": item.get("question") or REPORT_QUESTION}
        item |= asked | {"answer": item[report], "answer_type": "report"}
    return item
