"""Pictures whose bytes are in a Parquet file: one row's at a time, with what is near it.

A column holds bytes, Hugging Face's {"bytes", "path"}, or a list of one of these. Row groups
are decoded in small batches; the last ones are kept, up to `KEPT` bytes of all files together,
so that reading on, or again nearby, costs nothing, and the size of a file does not matter.
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
from medray.imaging.reference import Reference

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 16  # rows decoded at a time
KEPT = 64 * 2**20  # bytes
FILES = 64  # open at a time

_LOCK = threading.Lock()


def row_bytes(reference: Reference) -> bytes:
    """The bytes of the row that a reference with a column names.

    Raises ItemError image-missing | image-empty | image-unreadable.
    """
    value = _picture(reference)
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None:
        raise ItemError("image-missing", f"{reference.name}: the row has no picture")
    if not isinstance(content, bytes):
        raise ItemError("image-unreadable", f"{reference.name}: not a column of pictures")
    if not content:
        raise ItemError("image-empty", f"{reference.name}: has no bytes")
    return content


def row_place(reference: Reference, name: str) -> Any:
    """Where the picture of a row is: `name`, which is the reference's own text, where the row has
    the bytes; the path that it gives in their place; None where it has neither; a list of as many
    names as there are pictures, where there are several.

    Raises ItemError image-missing | image-unreadable.
    """
    value = _value(reference)
    if isinstance(value, list):
        if len(value) > 1:
            return [name] * len(value)
        value = value[0] if value else None
    if isinstance(value, dict) and value.get("bytes") is None:
        return value.get("path") or None
    return None if value is None else name


def _picture(reference: Reference) -> Any:
    """A row's value, or the only one of its list."""
    value = _value(reference)
    if not isinstance(value, list):
        return value
    if len(value) > 1:
        raise ItemError("image-unreadable", f"{reference.name}: holds {len(value)} pictures")
    return value[0] if value else None


def _value(reference: Reference) -> Any:
    import pyarrow as pa

    try:
        about = os.stat(reference.file)
    except (OSError, ValueError):
        raise ItemError("image-missing", f"{reference.name}: no such file") from None
    with _LOCK:
        try:
            opened = _open(reference.file, about.st_mtime_ns, about.st_size)
            return opened.value(reference.column, reference.row - 1)
        except LookupError:
            raise ItemError("image-missing", f"{reference.name}: no such row or column") from None
        except (OSError, pa.ArrowException):
            name = reference.name
            raise ItemError("image-unreadable", f"{name}: not a readable Parquet file") from None


@dataclass(slots=True)
class _Batches:
    """The batches that were used last, and the bytes of all of them."""

    held: OrderedDict[tuple[Any, ...], pa.Array] = field(default_factory=OrderedDict)
    size: int = 0

    def keep(self, key: tuple[Any, ...], values: pa.Array) -> None:
        self.held[key] = values
        self.size += values.nbytes
        while self.size > KEPT and len(self.held) > 1:
            _, oldest = self.held.popitem(last=False)
            self.size -= oldest.nbytes


_BATCHES = _Batches()


@dataclass(slots=True)
class _Running:
    """A row group that is being decoded: which, and the batch that comes next."""

    group: int
    batch: int
    batches: Iterator[Any]


@dataclass(slots=True)
class _Opened:
    """A file: `ends` are the numbers of rows up to and with each row group."""

    key: tuple[Any, ...]
    file: Any
    ends: list[int]
    running: dict[str, _Running] = field(default_factory=dict)

    def value(self, column: str, row: int) -> Any:
        """A value by its column and row, from 0. Raises LookupError, ArrowException, OSError."""
        if column not in self.file.schema_arrow.names or not 0 <= row < (self.ends or [0])[-1]:
            raise LookupError
        group = bisect.bisect_right(self.ends, row)
        within = row - (self.ends[group - 1] if group else 0)
        batch, place = divmod(within, BATCH)
        key = (*self.key, column, group, batch)
        if key not in _BATCHES.held:
            self._decode(column, group, batch)
        _BATCHES.held.move_to_end(key)
        return _BATCHES.held[key][place].as_py()

    def _decode(self, column: str, group: int, batch: int) -> None:
        """Keep a batch, and those before it that have to be passed where they are not kept."""
        running = self.running.get(column)
        if running is None or running.group != group or running.batch > batch:
            batches = self.file.iter_batches(
                BATCH, row_groups=[group], columns=[column], use_threads=False
            )
            running = self.running[column] = _Running(group, 0, batches)
        while running.batch <= batch:
            values = next(running.batches, None)
            if values is None:
                raise LookupError
            key = (*self.key, column, group, running.batch)
            if key not in _BATCHES.held:
                _BATCHES.keep(key, values.column(column))
            running.batch += 1


@lru_cache(maxsize=FILES)
def _open(path: str, *changed: int) -> _Opened:
    """`changed`: when the file changed last and its size, so that a new one is opened anew."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, memory_map=True)
    groups = range(file.metadata.num_row_groups)
    sizes = (file.metadata.row_group(i).num_rows for i in groups)
    return _Opened((path, *changed), file, list(accumulate(sizes)))
