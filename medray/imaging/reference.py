"""References to an image or a mask: a path, and after # a part of the file.

    scan.dcm#3              frame 3 of a multi-frame file
    train.parquet#image:17  the bytes in column `image` of row 17
    …parquet#images:17:2    the second of the images in column `images` of row 17
    mask.png#5              the pixels of value 5 of a mask

Frames and rows count from 1. Parts can be combined ("f.parquet#image:17#3"). If a file has the
whole text as its name, that file is meant.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

PARTS = re.compile(
    r"(?P<file>.*?)(?:#(?P<column>[^#:/]+):(?P<row>\d+)(?::(?P<entry>\d+))?)?(?:#(?P<part>\d+))?",
    re.S,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """`column` is "" if the file is not a table; `entry` counts the images of a row that holds a
    list, from 1; `part` is a frame, or a value of a mask."""

    file: str
    column: str = ""
    row: int = 0
    part: int | None = None
    entry: int | None = None

    @property
    def name(self) -> str:
        """For messages: without folders, because DICOM folders are often named after patients."""
        row = f"#{self.column}:{self.row}" if self.column else ""
        row += "" if self.entry is None else f":{self.entry}"
        part = "" if self.part is None else f"#{self.part}"
        return f"{os.path.basename(self.file)}{row}{part}"


def parse_reference(text: str | os.PathLike[str]) -> Reference:
    """Parse a reference.

    >>> parse_reference("a/b.dcm#3").part, parse_reference("t.parquet#image:17").row
    (3, 17)
    >>> parse_reference("a#b.png")
    Reference(file='a#b.png', column='', row=0, part=None, entry=None)
    """
    path = os.fspath(text)
    if "#" not in path or os.path.exists(path):
        return Reference(path)
    match = PARTS.fullmatch(path)
    assert match is not None  # the file may be any text
    part, entry = (None if match[key] is None else int(match[key]) for key in ("part", "entry"))
    return Reference(match["file"], match["column"] or "", int(match["row"] or 0), part, entry)


def row_reference(file: str | os.PathLike[str], column: str, row: int) -> str:
    """The reference of a row, counted from 1; the path becomes absolute."""
    return f"{os.path.abspath(file)}#{column}:{row}"


def frame_reference(file: str | os.PathLike[str], frame: int) -> str:
    """The reference of a frame, counted from 1."""
    return f"{os.fspath(file)}#{frame}"
