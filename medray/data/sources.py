"""Rows read from files, one at a time: JSON lines, JSON lists, CSV, Parquet, compressed or not.

Every row has a location for messages ("file.jsonl:12", "file.json: row 3"). No file is read
into memory at once.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any, BinaryIO

import ijson

from medray.data.rows import parse_json
from medray.errors import DataError, ItemError
from medray.files import open_file
from medray.imaging.reference import parse_reference, row_reference
from medray.imaging.stored import row_place

CHUNK = 1 << 18  # characters
MAX_BLANK = 100_000  # lines
MAX_LINE = 128 << 20  # characters: a row may hold masks as text
INFLATION, MIN_INFLATED = 50, 1 << 26  # of compressed files: greatest factor, or bytes
MAX_DEPTH = 900  # of lists and mappings in an item; the json module fails near 1000
NAN = Decimal("-9e999999999999999")
NUMBERS = {"NaN": str(NAN), "Infinity": "1e999"}  # what ijson reads in their place
# Quotes and escapes, to know what is inside a string, and what ijson misreads. Every alternative
# starts with a literal, which makes the search twice as fast.
TOKEN = re.compile(
    r'"|\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(?P<half>u[dD][89a-fA-F])|.)'
    r"|NaN\b|I(?<!\wI)nfinity\b|[0-9]{4301}",
    re.DOTALL,
)
CUT = re.compile(r"\\|\w\Z")  # found in the last 12 characters of a chunk: it may end in a token
PARQUET_ROWS = 1024
IMAGES = ("image", "images", "rejected_image", "mask")  # names of columns whose bytes are images
FAULTS = (OSError, EOFError, UnicodeDecodeError, zlib.error)  # of reading and decompressing


def open_text(path: Path) -> IO[str]:
    """A UTF-8 file, decompressed if its name ends in .gz, byte-order mark removed."""
    try:
        file: Any = open_file(path)
        if path.suffix == ".gz":
            file = io.BufferedReader(_Inflating(file))
        return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    except OSError as error:
        raise unreadable(path, error) from None


class _Inflating(gzip.GzipFile):
    """Reads a compressed file, and no more of it than a table can be expected to hold."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self.limit = max(MIN_INFLATED, INFLATION * os.fstat(file.fileno()).st_size)

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        if self.tell() > self.limit:
            raise OSError(errno.EFBIG, f"inflates to more than {INFLATION} times its size")
        return count


def unreadable(path: Path, error: Exception) -> DataError:
    """The error for a file that cannot be opened, decompressed or decoded."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(str(path), "is not UTF-8 text", "convert it to UTF-8")
    if isinstance(error, EOFError):
        return DataError(str(path), "is cut short", "download it again")
    reason = getattr(error, "strerror", None) or "cannot be read"
    return DataError(str(path), reason, "check the file")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of each line that is not blank."""
    with open_text(path) as file:
        try:
            for number, line in enumerate(_bounded(file, path), start=1):
                if line.strip():
                    yield number, line
        except FAULTS as error:
            raise unreadable(path, error) from None


def _bounded(file: IO[str], path: Path) -> Iterator[str]:
    """The lines of a file. Raises DataError for one that is too long to be a row, or blank ones
    without an end."""
    blank = 0
    while line := file.readline(MAX_LINE):
        blank = 0 if line.strip() else blank + 1
        if blank > MAX_BLANK:
            raise DataError(str(path), f"has {MAX_BLANK} blank lines in a row", "download it again")
        if len(line) == MAX_LINE:
            why = f"has a line of more than {MAX_LINE >> 20} million characters"
            raise DataError(str(path), why, "write one row a line")
        yield line


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """(where, value) of each line of a .jsonl file."""
    for number, line in lines(path):
        yield f"{path}:{number}", parse_json(line, f"{path}:{number}")


def csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, row) of a CSV file whose header has at least `columns`."""
    with open_text(path) as file:
        table = csv.DictReader(_bounded(file, path))
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
                        where, "has a different number of fields than the header", "fix the row"
                    )
                yield where, row
        except (*FAULTS, csv.Error) as error:
            raise unreadable(path, error) from None


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) of a Parquet file, with one batch of rows in memory at a time.

    Images are not read: instead of their bytes a row has a reference to them
    ("file.parquet#image:17"), or else the path stored beside them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with open_file(path) as source, pq.ParquetFile(source) as file:
            images = [column.name for column in file.schema_arrow if _holds_images(column)]
            columns = [name for name in file.schema_arrow.names if name not in images]
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns):
                rows = batch.to_pylist() if columns else [{} for _ in range(batch.num_rows)]
                for row in rows:
                    number += 1
                    for name in images:
                        row[name] = _image_name(path, name, number)
                    yield f"{path}: row {number}", row
    except (OSError, pa.ArrowException):
        raise DataError(str(path), "is not a readable Parquet file", "check the file") from None


def _holds_images(column: Any) -> bool:
    """Hugging Face's {"bytes", "path"} or a list of it, or bytes if the name is one of `IMAGES`."""
    import pyarrow.types as types

    dtype = column.type
    if types.is_list(dtype) or types.is_large_list(dtype):
        dtype = dtype.value_type
    if types.is_struct(dtype):
        return "bytes" in [dtype.field(i).name for i in range(dtype.num_fields)]
    return column.name in IMAGES and (
        types.is_binary(dtype) or types.is_large_binary(dtype) or types.is_binary_view(dtype)
    )


def _image_name(path: Path, column: str, row: int) -> Any:
    """The name of a row's image (`row_place`).

    An image that cannot be read has a name too: its case is dropped when it is issued.
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
    """(name, where, value) of each item of a JSON list (name "") or of a mapping's lists.

    NaN and Infinity, which Python writes although they are not JSON, are read as numbers.
    """
    count = 0
    with open_text(path) as file:
        try:
            for name, value in _items(path, _events(file)):
                count += 1
                yield name, f"{path}: row {count}", value
        except (ijson.JSONError, InvalidOperation) as error:
            where = f"{path}: after row {count}" if count else str(path)
            why = "an exponent is too large"
            if isinstance(error, ijson.JSONError):
                why = str(error).splitlines()[0].rstrip(".")  # the other lines quote the file
            raise DataError(where, f"is not valid JSON ({why})", "fix or replace it") from None
        except FAULTS as error:
            raise unreadable(path, error) from None


def _items(path: Path, events: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """(name, value) of each item. Raises DataError if a list is expected and not found."""
    event, _ = next(events)
    if event == "start_map":
        for event, name in events:
            if event == "map_key":
                event, _ = next(events)
                for value in _list(path, event, events):
                    yield name, value
    else:
        for value in _list(path, event, events):
            yield "", value
        for _ in events:  # text after the list raises JSONError
            pass


def _list(path: Path, start: str, events: Iterator[tuple[str, Any]]) -> Iterator[Any]:
    """The items of a list. `start`: the event at which it should begin."""
    if start != "start_array":
        raise DataError(str(path), "is not a list", "give the file as distributed")
    for event, value in events:
        if event == "end_array":
            return
        builder = ijson.ObjectBuilder()
        builder.event(event, value)
        while builder.containers:
            if len(builder.containers) > MAX_DEPTH:
                raise ijson.JSONError("too deep")
            builder.event(*next(events))
        yield builder.value


def _events(file: IO[str]) -> Iterator[tuple[str, Any]]:
    """ijson's (event, value), with int and float as Python's json makes them."""
    for event, value in ijson.basic_parse(_JsonBytes(file), buf_size=CHUNK):
        if isinstance(value, Decimal):
            yield event, math.nan if value == NAN else float(value)
        else:
            yield event, value


class _JsonBytes:
    """JSON text as the bytes that ijson reads, without what it would misread.

    NaN and Infinity become numbers that JSON can express. Half of a surrogate pair, which
    becomes "?" in ijson, and an integer too long for Python, which crashes it, raise JSONError.
    """

    def __init__(self, file: IO[str]) -> None:
        self.file, self.in_string = file, False

    def read(self, size: int) -> bytes:
        text = self.file.read(size)
        while CUT.search(text[-12:]) and (more := self.file.read(1)):
            text += more
        if not text and self.in_string:  # which ijson overlooks after the end of the list
            raise ijson.JSONError("a string is not closed")
        return TOKEN.sub(self._replace, text).encode()

    def _replace(self, match: re.Match[str]) -> str:
        token = match.group()
        if token == '"':
            self.in_string = not self.in_string
        elif match["half"]:
            raise ijson.JSONError("holds half of a character")
        elif not self.in_string:
            if token.isdigit():
                raise ijson.JSONError("an integer is too long")
            return NUMBERS.get(token, token)
        return token
