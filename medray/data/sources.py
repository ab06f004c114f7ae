"""Rows out of files, one at a time: JSON lines, JSON lists, CSV, Parquet, compressed or not.

Every row comes with where it stands ("file.json:12"), for messages. No file is held in
memory as a whole.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from medray.data.rows import half_characters, parse_json
from medray.errors import DataError, ItemError
from medray.imaging.reference import parse_reference, row_reference
from medray.imaging.stored import row_place

CHUNK = 1 << 18  # characters
NEAR_END = 16  # a fault this close to the end of the text read may only be a text cut short
SPACE = " \t\r\n"
PARQUET_ROWS = 1024
PICTURES = ("image", "images", "rejected_image", "mask")  # columns of bytes that are no text
FAULTS = (OSError, EOFError, UnicodeDecodeError, zlib.error)  # of opening, unpacking, decoding


def open_text(path: Path) -> IO[str]:
    """A UTF-8 file, unpacked where its name ends in .gz, byte-order mark removed."""
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> DataError:
    """What a file that cannot be opened, unpacked or decoded is answered with."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(str(path), "is not UTF-8 text", "convert it to UTF-8")
    if isinstance(error, EOFError):
        return DataError(str(path), "is cut short", "fetch it again")
    reason = getattr(error, "strerror", None) or "cannot be read"
    return DataError(str(path), reason, "check the file")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of each line that is not blank."""
    with open_text(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
        except FAULTS as error:
            raise unreadable(path, error) from None


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """(where, value) of each line of a .jsonl file."""
    for number, line in lines(path):
        yield f"{path}:{number}", parse_json(line, f"{path}:{number}")


def csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, row) of a CSV file whose header has at least `columns`."""
    with open_text(path) as file:
        table = csv.DictReader(file)
        try:
            missing = [name for name in columns if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(
                    str(path), f"has no column {missing[0]}", "give the file as distributed"
                )
            for row in table:
                where = f"{path}:{table.line_num}"
                if None in row or None in row.values():
                    raise DataError(
                        where, "has another number of fields than the header", "mend it"
                    )
                yield where, row
        except (*FAULTS, csv.Error) as error:
            raise unreadable(path, error) from None


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) of a Parquet file, a batch of rows in memory at a time.

    Pictures are not read: in the place of their bytes a row has what names them
    ("file.parquet#image:17"), or else the path that stands beside them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with pq.ParquetFile(path) as file:
            pictures = [each.name for each in file.schema_arrow if _holds_pictures(each)]
            columns = [name for name in file.schema_arrow.names if name not in pictures]
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns):
                rows = batch.to_pylist() if columns else [{} for _ in range(batch.num_rows)]
                for row in rows:
                    number += 1
                    for name in pictures:
                        row[name] = _picture(path, name, number)
                    yield f"{path}: row {number}", row
    except (OSError, pa.ArrowException):
        raise DataError(str(path), "is not a readable Parquet file", "check the file") from None


def _holds_pictures(column: Any) -> bool:
    """Hugging Face's {"bytes", "path"} or a list of it, or bytes where the name says so."""
    import pyarrow.types as of

    kind = column.type
    if of.is_list(kind) or of.is_large_list(kind):
        kind = kind.value_type
    if of.is_struct(kind):
        return "bytes" in [kind.field(i).name for i in range(kind.num_fields)]
    return column.name in PICTURES and (
        of.is_binary(kind) or of.is_large_binary(kind) or of.is_binary_view(kind)
    )


def _picture(path: Path, column: str, row: int) -> Any:
    """What names a row's picture (`row_place`).

    One that cannot be read is named as well: its case is dropped when its turn comes.
    """
    name = row_reference(path, column, row)
    try:
        return row_place(parse_reference(name), name)
    except ItemError:
        return name


def rows_of(path: Path) -> Iterator[tuple[str, Any]]:
    """(where, value) of each row of a .parquet, .jsonl or .json file."""
    if path.suffix == ".parquet":
        yield from parquet_rows(path)
    elif path.suffix == ".jsonl":
        yield from json_lines(path)
    else:
        for name, where, value in json_items(path):
            if name:
                raise DataError(str(path), "is not a list of rows", "give the file as distributed")
            yield where, value


def json_items(path: Path) -> Iterator[tuple[str, str, Any]]:
    """(name, where, value) of each item of a JSON list (name "") or of a mapping's lists."""
    with open_text(path) as file:
        text = _Text(path, file)
        try:
            if text.peek() != "{":
                for where, value in _list(text):
                    yield "", where, value
            else:
                yield from _mapping(text)
            if text.peek():
                raise text.fault("more text follows the end")
        except FAULTS as error:
            raise unreadable(path, error) from None


def _mapping(text: _Text) -> Iterator[tuple[str, str, Any]]:
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        if not isinstance(name, str):
            raise text.fault("a name is not a text")
        text.take(":")
        for where, value in _list(text):
            yield name, where, value
        if text.peek() != "}":
            text.take(",")
    text.take("}")


def _list(text: _Text) -> Iterator[tuple[str, Any]]:
    if text.peek() != "[":
        raise DataError(text.where(), "is not a list", "give the file as distributed")
    text.take("[")
    more = text.peek() != "]"
    while more:
        text.peek()
        yield text.where(), text.value()
        more = text.peek() != "]"
        if more:
            text.take(",")
    text.take("]")


class _Text:
    """A file read in pieces, and the place that is read next."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.file = path, file
        self.held, self.at, self.line, self.ended = "", 0, 1, False
        self.decode = json.JSONDecoder().raw_decode

    def where(self) -> str:
        return f"{self.path}:{self.line}"

    def fault(self, why: str, line: int | None = None) -> DataError:
        return DataError(
            f"{self.path}:{line or self.line}", f"is not valid JSON ({why})", "mend or replace it"
        )

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            while self.at < len(self.held) and self.held[self.at] in SPACE:
                self.line += self.held[self.at] == "\n"
                self.at += 1
            if self.at < len(self.held) or self.ended:
                return self.held[self.at : self.at + 1]
            self._more()

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            raise self.fault(f"{expected!r} is expected")
        self.at += 1

    def value(self) -> Any:
        """The JSON value that stands next."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.held, self.at)
            except RecursionError:
                raise self.fault("too deep") from None
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self.held) - NEAR_END or "Unterminated" in error.msg
                if self.ended or not cut:
                    line = self.line + self.held.count("\n", self.at, error.pos)
                    raise self.fault(error.msg, line) from None
            else:
                if end < len(self.held) or self.ended:
                    if half_characters(self.held[self.at : end], value):
                        raise self.fault("holds half of a character")
                    self.line += self.held.count("\n", self.at, end)
                    self.at = end
                    return value
            self._more()

    def _more(self) -> None:
        """Read on, at least as much as is held, so that a long value is not read many times."""
        self.held, self.at = self.held[self.at :], 0
        piece = self.file.read(max(CHUNK, len(self.held)))
        self.ended = not piece
        self.held += piece
