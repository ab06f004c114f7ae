"""Images stored in a Parquet file, read row by row with a cache of recent batches.

A column contains bytes, Hugging Face's {"bytes", "path"}, or lists of these. Row
groups are decoded in small batches; the most recent ones are cached, up to `CACHE_BYTES` for all
files together, so that sequential and nearby reads are cheap whatever the size of the file.
"""

from __future__ import annotations

import bisect
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from medray.errors import ItemError
from medray.files import require_file
from medray.imaging.reference import Reference

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 16  # rows decoded at a time
CACHE_BYTES = 64 * 2**20
FILES = 64  # open at the same time

_LOCK = threading.Lock()


def row_bytes(reference: Reference) -> bytes:
    """The bytes of the row that a reference with a column names.

    Raises ItemError image-missing | image-empty | image-unreadable.
    """
    value = _single_value(reference)
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None:
        raise ItemError("image-missing", f"{reference.name}: the row has no image")
    if not isinstance(content, bytes):
        raise ItemError("image-unreadable", f"{reference.name}: not a column of images")
    if not content:
        raise ItemError("image-empty", f"{reference.name}: has no bytes")
    return content


def row_place(reference: Reference, name: str) -> Any:
    """Where the image of a row is: `name`, the text of the reference, if the row has the bytes;
    else the path that the row gives; None if it has neither. If the row has a list of several, the
    list of their places.

    Raises ItemError image-missing | image-unreadable.
    """
    value = _value(reference)
    if isinstance(value, list):
        if len(value) > 1:
            return [_place(each, f"{name}:{i}") for i, each in enumerate(value, 1)]
        value = value[0] if value else None
    return _place(value, name)


def _place(value: Any, name: str) -> Any:
    """As `row_place`, of one image."""
    if isinstance(value, dict) and value.get("bytes") is None:
        return value.get("path") or None
    return None if value is None else name


def _single_value(reference: Reference) -> Any:
    """A row's value, or the element of its list that is meant: the only one, if none is named.

    Raises ItemError if there are several, or none such.
    """
    value = _value(reference)
    if not isinstance(value, list):
        value = value if reference.entry is None else [value]
    if not isinstance(value, list):
        return value
    if reference.entry is not None:
        if not 1 <= reference.entry <= len(value):
            raise ItemError("image-missing", f"{reference.name}: no such image in the row")
        return value[reference.entry - 1]
    if len(value) > 1:
        raise ItemError("image-unreadable", f"{reference.name}: holds {len(value)} images")
    return value[0] if value else None


def _value(reference: Reference) -> Any:
    import pyarrow as pa

    try:
        status = os.stat(reference.file)
        require_file(status)
    except (OSError, ValueError):
        raise ItemError("image-missing", f"{reference.name}: no such file") from None
    with _LOCK:
        try:
            opened = _open(reference.file, status.st_mtime_ns, status.st_size)
            return opened.value(reference.column, reference.row - 1)
        except LookupError:
            raise ItemError("image-missing", f"{reference.name}: no such row or column") from None
        except (OSError, pa.ArrowException):
            name = reference.name
            raise ItemError("image-unreadable", f"{name}: not a readable Parquet file") from None


@dataclass(slots=True)
class _BatchCache:
    """The most recently used batches, and their total size in bytes."""

    batches: OrderedDict[tuple[Any, ...], pa.Array] = field(default_factory=OrderedDict)
    size: int = 0

    def add(self, key: tuple[Any, ...], values: pa.Array) -> None:
        self.batches[key] = values
        self.size += values.nbytes
        while self.size > CACHE_BYTES and len(self.batches) > 1:
            _, oldest = self.batches.popitem(last=False)
            self.size -= oldest.nbytes


_CACHE = _BatchCache()


@dataclass(slots=True)
class _Decoding:
    """A row group that is being decoded, and the number of the next batch."""

    group: int
    batch: int
    batches: Iterator[Any]


@dataclass(slots=True)
class _Opened:
    """An open file. `ends`: the number of rows up to and including each row group."""

    key: tuple[Any, ...]
    file: Any
    ends: list[int]
    decoding: dict[str, _Decoding] = field(default_factory=dict)

    def value(self, column: str, row: int) -> Any:
        """A value by its column and row, from 0. Raises LookupError, ArrowException, OSError."""
        if column not in self.file.schema_arrow.names or not 0 <= row < (self.ends or [0])[-1]:
            raise LookupError
        group = bisect.bisect_right(self.ends, row)
        within = row - (self.ends[group - 1] if group else 0)
        batch, offset = divmod(within, BATCH)
        key = (*self.key, column, group, batch)
        if key not in _CACHE.batches:
            self._decode(column, group, batch)
        _CACHE.batches.move_to_end(key)
        return _CACHE.batches[key][offset].as_py()

    def _decode(self, column: str, group: int, batch: int) -> None:
        """Cache a batch, and those that must be decoded before it."""
        decoding = self.decoding.get(column)
        if decoding is None or decoding.group != group or decoding.batch > batch:
            batches = self.file.iter_batches(
                BATCH, row_groups=[group], columns=[column], use_threads=False
            )
            decoding = self.decoding[column] = _Decoding(group, 0, batches)
        while decoding.batch <= batch:
            values = next(decoding.batches, None)
            if values is None:
                raise LookupError
            key = (*self.key, column, group, decoding.batch)
            if key not in _CACHE.batches:
                _CACHE.add(key, values.column(column))
            decoding.batch += 1


@lru_cache(maxsize=FILES)
def _open(path: str, *version: int) -> _Opened:
    """Open a file once. `version`: its mtime and size, so that a changed file is opened again."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, memory_map=True)
    groups = range(file.metadata.num_row_groups)
    sizes = (file.metadata.row_group(i).num_rows for i in groups)
    return _Opened((path, *version), file, list(accumulate(sizes)))
