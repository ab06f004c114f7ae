"""Draw pairs of a run to be graded: at random, evenly over error types, sides in random order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from medray.errors import DataError
from medray.review.key import Key, KeyEntry, Side
from medray.seeds import stream

T = TypeVar("T")
UNMARKED = "unmarked"  # the error type of a pair without edited spans


def draw_pairs(table: pa.Table, n: int, seed: int) -> tuple[list[dict[str, Any]], Key]:
    """At most `n` trained rows of a ledger in the order of the page, and the key to them.

    Every error type gives the same number of pairs, as long as it has any; a pair is of the type of
    its most severe edit. Half of the chosen sides are A. The same ledger, `n` and `seed` give the
    same pairs, ids and order. Raises DataError if no trained pair has two sides.
    """
    trained = table.filter(pc.equal(table["status"], "trained"))
    rows = [row for row in trained.to_pylist() if _gradable(row)]
    if not rows:
        raise DataError("the run", "has no trained pair with two different sides", "train first")
    salt = digest_of(rows)
    source = stream(seed, f"review of {n}, {salt}")
    by_type = _by_error_type(rows)
    drawn = spread(by_type, n, source)
    source.shuffle(drawn)
    sides: list[Side] = ["A" if i % 2 else "B" for i in range(len(drawn))]
    source.shuffle(sides)
    entries = {}
    for row, side in zip(drawn, sides, strict=True):
        correct = row["response_was_correct"]
        corrected = None if correct is None else not correct
        entries[f"{source.getrandbits(64):016x}"] = KeyEntry(
            row["pair_id"], row["step"], error_type(row), side, corrected
        )
    totals = {name: len(by_type[name]) for name in sorted(by_type)}
    return drawn, Key(entries, totals, salt)


def error_type(row: dict[str, Any]) -> str:
    """The type of the row's most severe edit; of equally severe ones, of the first."""
    spans = [*(row["rejected_spans"] or []), *(row["chosen_spans"] or [])]
    typed = [span for span in spans if span["error_type"]]
    worst = max(typed, key=lambda span: span["severity"] or 0.0, default=None)
    return UNMARKED if worst is None else str(worst["error_type"])


def _gradable(row: dict[str, Any]) -> bool:
    """Whether its texts differ: those of `sft` have one side, other pairs differ in the image."""
    return bool(row["chosen"] and row["rejected"]) and row["chosen"] != row["rejected"]


def _by_error_type(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    by_type: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_type.setdefault(error_type(row), []).append(row)
    return by_type


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


def digest_of(rows: Sequence[dict[str, Any]]) -> str:
    """Of what the page does not show: losses and ids."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['pair_id']} {row['loss']} {row['chosen_logp']}\n".encode())
    return digest.hexdigest()
