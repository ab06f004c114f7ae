"""What names an image or a mask: a path, and after # the part of the file that is meant.

    scan.dcm#3              frame 3 of a file of several
    train.parquet#image:17  the bytes in column `image` of row 17
    mask.png#5              the pixels of value 5 of a mask

Frames and rows count from 1. The last two may be joined ("f.parquet#image:17#3"). A file whose
name is the whole text goes before a part of another.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

PARTS = re.compile(r"(?P<file>.*?)(?:#(?P<column>[^#:/]+):(?P<row>\d+))?(?:#(?P<part>\d+))?", re.S)


@dataclass(frozen=True, slots=True)
class Reference:
    """`column` is "" where the file is not a table; `part` is a frame or a value of a mask."""

    file: str
    column: str = ""
    row: int = 0
    part: int | None = None

    @property
    def name(self) -> str:
        """For messages: without the folders, as those of DICOM files are named after patients."""
        where = f"#{self.column}:{self.row}" if self.column else ""
        part = "" if self.part is None else f"#{self.part}"
        return f"{os.path.basename(self.file)}{where}{part}"


def parse_reference(text: str | os.PathLike[str]) -> Reference:
    """Take a reference apart.

    >>> parse_reference("a/b.dcm#3").part, parse_reference("t.parquet#image:17").row
    (3, 17)
    >>> parse_reference("a#b.png")
    Reference(file='a#b.png', column='', row=0, part=None)
    """
    path = os.fspath(text)
    if "#" not in path or os.path.exists(path):
        return Reference(path)
    found = PARTS.fullmatch(path)
    assert found is not None  # the file may be any text
    part, column = found["part"], found["column"]
    return Reference(
        found["file"], column or "", int(found["row"] or 0), None if part is None else int(part)
    )


def row_reference(file: str | os.PathLike[str], column: str, row: int) -> str:
    """The text that names the bytes of a row, counted from 1; the path becomes absolute."""
    return f"{os.path.abspath(file)}#{column}:{row}"


def frame_reference(file: str | os.PathLike[str], frame: int) -> str:
    """The text that names a frame, counted from 1."""
    return f"{os.fspath(file)}#{frame}"
