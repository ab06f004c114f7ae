"""The files of a ledger: one per step, and the steps of long runs a hundred to a file.

    step-000001.parquet … step-000100.parquet  ──▶  steps-000001-000100.parquet

A row group holds the rows of one step or of several, in order, and each file's footer says what it
holds and what the run had come to before and after it, so that a run is counted, reopened and read
without its rows in memory.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medray.errors import RunFailed, UserError
from medray.files import replacing
from medray.ledger.columns import SCHEMA

BLOCK = 100  # steps in one file, once they are this far behind
GROUP = 1024  # rows: steps share a row group until it has as many
_FOOTER = b"medray.totals"
_NAME = re.compile(r"step(?:-(\d{6,})|s-(\d{6,})-(\d{6,}))\.parquet")


class LedgerError(RunFailed):
    """Ledger mismatch: an id is unknown, was recorded twice, or has no reason."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Items that ended trained or dropped, and pairs trained on.

    >>> Counts(trained=30, dropped=2, pairs=41) + Counts(trained=1)
    Counts(trained=31, dropped=2, pairs=41)
    """

    trained: int = 0
    dropped: int = 0
    pairs: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.trained + other.trained, self.dropped + other.dropped, self.pairs + other.pairs
        )


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """One file and the steps whose rows it holds, both included."""

    path: Path
    first: int
    last: int


def list_files(folder: Path) -> list[LedgerFile]:
    """The files by step, without those whose steps a longer one holds."""
    found = []
    for path in filter(Path.is_file, folder.glob("step*.parquet")):
        if match := _NAME.fullmatch(path.name):
            first, last = int(match[1] or match[2]), int(match[1] or match[3])
            found.append(LedgerFile(path, first, last))
    found.sort(key=lambda file: (file.first, -file.last))
    files: list[LedgerFile] = []
    for file in found:
        if not files or file.last > files[-1].last:
            files.append(file)
    return files


def write_step(folder: Path, step: int, table: pa.Table, before: Counts, after: Counts) -> None:
    """Write the rows of one step, atomically. `before`, `after`: what the run had come to."""
    with replacing(folder / f"step-{step:06d}.parquet") as temporary:
        footer = _footer(step, table.num_rows, before, after)
        pq.write_table(table.replace_schema_metadata(footer), temporary)


def read_steps(
    folder: Path, columns: Sequence[str] | None = None, *, steps: Sequence[int] | None = None
) -> Iterator[pa.Table]:
    """The rows of these steps (None: of all), some steps at a time, in order and none without rows.

    `columns`: None for all of SCHEMA; `steps`: ascending. Raises UserError if a file is unreadable.
    """
    for file in list_files(folder):
        if steps is not None and not _between(steps, file.first, file.last):
            continue
        try:
            yield from _row_groups(file, columns, steps)
        except (OSError, pa.ArrowException) as error:
            why = f"is not a ledger file ({' '.join(str(error).split())[:200]})"
            raise UserError(str(file.path), why, "restore it from a copy of the run") from None


def count(tables: Iterable[pa.Table]) -> Counts:
    """What became of the items of steps, from columns `pair_id`, `item_id` and `status`."""
    total = Counts()
    for table in tables:
        # Rows without item_id are of a version in which an item had one row.
        items = pc.coalesce(table["item_id"], table["pair_id"]).to_pylist()
        trained = pc.equal(table["status"], "trained").to_pylist()
        ends = dict(zip(items, trained, strict=True))
        kept = sum(ends.values())
        total += Counts(kept, len(ends) - kept, sum(trained))
    return total


def counted(folder: Path, last_step: int) -> Counts:
    """What the run had come to after `last_step`, as the footers have it.

    Raises LedgerError if a step is missing, or the files do not follow on each other.
    """
    files = [file for file in list_files(folder) if file.first <= last_step]
    total, step = Counts(), 0
    for file in files:
        if file.first != step + 1:
            raise LedgerError(str(folder), f"step {step + 1} is missing", "restore the file")
        footer, step = _read_footer(file.path), file.last
        if footer["before"] != total or footer["step"] != file.last:
            why = f"{file.path.name} does not follow on the file before it: it belongs elsewhere"
            raise LedgerError(str(folder), why, "restore the files")
        total = footer["after"]
        if file.last > last_step:
            keys = ("pair_id", "item_id", "status")
            steps = range(file.first, last_step + 1)
            total, step = footer["before"] + count(_row_groups(file, keys, steps)), last_step
    if step != last_step:
        why = f"ends at step {step}, but the checkpoint is of step {last_step}"
        raise LedgerError(str(folder), why, "restore the files, or start a new run")
    return total


def cut_after(folder: Path, last_step: int) -> None:
    """Delete the rows of later steps, and what a killed writer left."""
    files = list_files(folder)
    kept = {file.path for file in files if file.last <= last_step}
    for file in files:
        if file.first <= last_step < file.last:
            kept.add(_merge(folder, [file], last_step))
    for path in (*folder.glob("step*.parquet"), *folder.glob(".step*.tmp")):
        if path not in kept and (path.suffix == ".tmp" or _NAME.fullmatch(path.name)):
            path.unlink()


def compact(folder: Path, step: int) -> None:
    """Every BLOCK steps: put the block before the last one into one file."""
    last = step - BLOCK
    if step % BLOCK or last <= 0:
        return
    files = [f for f in list_files(folder) if last - BLOCK < f.first and f.last <= last]
    if len(files) > 1:
        merged = _merge(folder, files, last)
        for file in files:
            if file.path != merged:
                file.path.unlink()


def _merge(folder: Path, files: Sequence[LedgerFile], last: int) -> Path:
    """One file with the rows of `files` up to step `last`; a row group is in memory at a time."""
    path = folder / f"steps-{files[0].first:06d}-{last:06d}.parquet"
    before = _read_footer(files[0].path)["before"]
    total, rows = before, 0
    parts = (table for file in files for table in _row_groups(file, None, range(1, last + 1)))
    with replacing(path) as temporary, pq.ParquetWriter(temporary, SCHEMA) as writer:
        for table in _grouped(parts):
            writer.write_table(table, row_group_size=table.num_rows)
            total, rows = total + count([table]), rows + table.num_rows
        writer.add_key_value_metadata(_footer(last, rows, before, total))
    return path


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of GROUP rows or more, but for the last one; none is cut in two."""
    parts: list[pa.Table] = []
    for table in tables:
        parts.append(table)
        if sum(part.num_rows for part in parts) >= GROUP:
            yield pa.concat_tables(parts)
            parts = []
    if parts:
        yield pa.concat_tables(parts)


def _row_groups(
    file: LedgerFile, columns: Sequence[str] | None, steps: Sequence[int] | None
) -> Iterator[pa.Table]:
    """The rows of these steps (None: of all) by row group, with the columns that are asked for."""
    names = list(columns or SCHEMA.names)
    schema = pa.schema([SCHEMA.field(name) for name in names])
    with pq.ParquetFile(file.path) as opened:
        if "step" not in opened.schema_arrow.names:
            raise pa.ArrowInvalid(f"{file.path.name} is no part of a ledger: it has no steps")
        there = [*{*(name for name in names if name in opened.schema_arrow.names), "step"}]
        for group in range(opened.num_row_groups):
            content = opened.metadata.row_group(group)
            if content.num_rows == 0:
                continue
            known = _statistics(content, "step")
            wanted = None if steps is None else _between(steps, known.min, known.max)
            if wanted is None or wanted:
                table = opened.read_row_group(group, there)
                if wanted is not None and known.min != known.max:
                    table = table.filter(pc.is_in(table["step"], pa.array(wanted, pa.int64())))
                if table.num_rows:
                    yield _complete(table, schema)


def _statistics(group: pq.RowGroupMetaData, name: str) -> pq.Statistics:
    """Of a column. Its number is not asked of the file's schema, which pyarrow has refer to the
    metadata and the metadata to it: such pairs of objects stay until Python looks for them."""
    columns = (group.column(number) for number in range(group.num_columns))
    return next(column.statistics for column in columns if column.path_in_schema == name)


def _between(steps: Sequence[int], first: int, last: int) -> Sequence[int]:
    """Those of the ascending steps from `first` to `last`, both included.

    >>> _between([1, 4, 9], 2, 9)
    [4, 9]
    """
    return steps[bisect_left(steps, first) : bisect_right(steps, last)]


def _complete(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the order of `schema`; a column that an earlier version lacked is null."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _footer(step: int, rows: int, before: Counts, after: Counts) -> dict[bytes | str, bytes | str]:
    content = {"step": step, "rows": rows, "before": asdict(before), "after": asdict(after)}
    return {_FOOTER: json.dumps(content).encode()}


def _read_footer(path: Path) -> dict[str, Any]:
    """What a file says of itself: `step` (its last), `before`, `after`. Raises LedgerError."""
    why = "is not a ledger file of this version of medray, or was changed"
    error = LedgerError(str(path), why, "restore it from a copy of the run")
    try:
        metadata = pq.read_metadata(path)
        content = json.loads((metadata.metadata or {})[_FOOTER])
        before, after = Counts(**content["before"]), Counts(**content["after"])
        step, rows = content["step"], content["rows"]
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        raise error from None
    if rows != metadata.num_rows:
        raise error
    return {"step": step, "before": before, "after": after}
