"""Draw pairs of a run to be graded: at random, evenly over error types, sides in random order.

    ledger ──columns that decide──▶ places (step, index) by error type ──draw──▶ n rows

A run of any length is drawn from in the memory of some steps and of eight bytes per pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medray.errors import DataError
from medray.ledger import read_steps
from medray.report import Places, read_rows, within_step
from medray.review.key import Key, KeyEntry, Side
from medray.rundir import RunDirectory
from medray.seeds import stream

T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[Any]]
UNMARKED = "unmarked"  # the error type of a pair without edited spans
_SPANS = ("rejected_spans", "chosen_spans")
_HIDDEN = ("pair_id", "loss", "chosen_logp")  # what the page does not show
_COLUMNS = ("step", "status", "chosen", "rejected", *_SPANS, *_HIDDEN)


@dataclass(frozen=True, slots=True)
class Gradable:
    """Where the pairs are that can be graded: int32 [pairs of a type, 2], step and index within it,
    by error type; `salt`: a digest of what the page does not show of them."""

    places: dict[str, Array]
    salt: str


def draw_pairs(run: RunDirectory, n: int, seed: int) -> tuple[list[dict[str, Any]], Key]:
    """At most `n` trained rows of a ledger in the order of the page, and the key to them.

    Every error type gives the same number of pairs, as long as it has any; a pair is of the type of
    its most severe edit. Half of the chosen sides are A. The same ledger, `n` and `seed` give the
    same pairs, ids and order. Raises DataError if no trained pair has two sides.
    """
    found = find_gradable(run)
    if not found.places:
        raise DataError("the run", "has no trained pair with two different sides", "train first")
    source = stream(seed, f"review of {n}, {found.salt}")
    totals = {name: len(found.places[name]) for name in sorted(found.places)}
    picked = spread(
        {name: [(name, i) for i in _some(count, n, source)] for name, count in totals.items()},
        n,
        source,
    )
    source.shuffle(picked)
    places = np.array([found.places[name][i] for name, i in picked])
    drawn = list(read_rows(run, Places.at(places[:, 0], places[:, 1])))
    sides: list[Side] = ["A" if i % 2 else "B" for i in range(len(drawn))]
    source.shuffle(sides)
    entries = {}
    for row, side in zip(drawn, sides, strict=True):
        correct = row["response_was_correct"]
        corrected = None if correct is None else not correct
        entries[f"{source.getrandbits(64):016x}"] = KeyEntry(
            row["pair_id"], row["step"], error_type(row), side, corrected
        )
    return drawn, Key(entries, totals, found.salt)


def find_gradable(run: RunDirectory) -> Gradable:
    """The trained pairs whose texts differ (those of `sft` have one side, other pairs differ in the
    image), by error type. Raises UserError if the ledger is unreadable."""
    parts: dict[str, list[Array]] = {}
    digest = hashlib.sha256()
    for table in read_steps(run.ledger, _COLUMNS):
        steps = table["step"].to_numpy()
        (rows,) = np.nonzero(_gradable(table))
        places = np.stack([steps, within_step(steps)], axis=1).astype(np.int32)[rows]
        taken = table.take(pa.array(rows))
        _add(digest, taken)
        types = _error_types(taken)
        for name in set(types.tolist()):
            parts.setdefault(name, []).append(places[types == name])
    places_of = {name: np.concatenate(found) for name, found in parts.items()}
    return Gradable(places_of, digest.hexdigest())


def ledger_digest(ledger: Path) -> str:
    """Of what no page shows of a run: losses and ids. Raises UserError if it is unreadable."""
    digest = hashlib.sha256()
    for table in read_steps(ledger, _HIDDEN):
        _add(digest, table)
    return digest.hexdigest()


def error_type(row: dict[str, Any]) -> str:
    """The type of the row's most severe edit; of equally severe ones, of the first."""
    spans = [*(row["rejected_spans"] or []), *(row["chosen_spans"] or [])]
    typed = [span for span in spans if span["error_type"]]
    worst = max(typed, key=lambda span: span["severity"] or 0.0, default=None)
    return UNMARKED if worst is None else str(worst["error_type"])


def _gradable(table: pa.Table) -> Array:
    """Whether each row is a trained pair whose two texts differ: bool [rows]."""
    chosen, rejected = table["chosen"], table["rejected"]  # null is neither equal nor different
    different = pc.and_(pc.not_equal(chosen, rejected), pc.not_equal(chosen, ""))
    wanted = pc.and_(different, pc.not_equal(rejected, ""))
    wanted = pc.and_(wanted, pc.equal(table["status"], "trained"))
    found: Array = pc.fill_null(wanted, False).to_numpy(zero_copy_only=False)
    return found


def _error_types(table: pa.Table) -> Array:
    """`error_type` of each row: str [rows], without the rows in Python."""
    types: Array = np.full(table.num_rows, UNMARKED, dtype=object)
    worst = np.full(table.num_rows, -np.inf)
    for name in _SPANS:  # of equally severe edits, the first of the first column
        column = table[name].combine_chunks()
        spans = pc.list_flatten(column)
        rows = pc.list_parent_indices(column).to_numpy()
        kinds = pc.struct_field(spans, "error_type").to_numpy(zero_copy_only=False)
        severity = pc.fill_null(pc.struct_field(spans, "severity"), 0.0).to_numpy(
            zero_copy_only=False
        )
        typed = np.array([bool(kind) for kind in kinds], dtype=bool)
        rows, kinds, severity = rows[typed], kinds[typed], severity[typed]
        order = np.lexsort((np.arange(len(rows)), -severity, rows))
        first = order[np.unique(rows[order], return_index=True)[1]]
        better = first[severity[first] > worst[rows[first]]]
        types[rows[better]], worst[rows[better]] = kinds[better], severity[better]
    return types


def _some(count: int, n: int, source: Random) -> list[int]:
    """At most `n` of the numbers below `count`, in random order."""
    return source.sample(range(count), min(n, count))


def spread(by_type: Mapping[str, Sequence[T]], n: int, source: Random) -> list[T]:
    """One of each type in turn, at random within a type, until `n` are drawn."""
    queues = [source.sample(rows, len(rows)) for _, rows in sorted(by_type.items())]
    source.shuffle(queues)  # which types get one more, where n is no multiple
    drawn: list[T] = []
    while queues and len(drawn) < n:
        for queue in queues[: n - len(drawn)]:
            drawn.append(queue.pop())
        queues = [queue for queue in queues if queue]
    return drawn


def _add(digest: Any, table: pa.Table) -> None:
    """Add what the page does not show of these rows to a digest."""
    for name in _HIDDEN:
        values = table[name].to_pylist() if name == "pair_id" else table[name].to_numpy()
        digest.update("\n".join(values).encode() if name == "pair_id" else values.tobytes())
