"""Which rows of a ledger to show: found without their texts, then read a step at a time.

    ledger ──columns of the filter──▶ places (step, index) ──all columns──▶ rows

A run of any length is searched in the memory of some steps, and of twenty bytes per row found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medray.ledger import read_steps
from medray.rundir import RunDirectory

WITH_A_PAIR = ("trained", "skipped")
Order = Literal["step", "loss", "relevance"]
Array = np.ndarray[Any, np.dtype[Any]]
STRETCHES = 64  # of neighbouring rows, where few are taken of very many: each is read at one go
_TEXTS = ("question", "reference", "response", "prefix", "chosen", "rejected", "case_id", "pair_id")
_SPANS = ("rejected_spans", "chosen_spans")


@dataclass(frozen=True, slots=True)
class PairFilter:
    """What a row must be; an empty field asks for nothing. All fields must be met, of the values
    of one field any.

    `steps`: first and last; `reasons`: drop reasons or their beginnings; `text`: in any of a row's
    texts or its ids, whatever its case; `by_token`: log-ratios of its tokens are known.
    """

    steps: tuple[int, int] | None = None
    error_types: tuple[str, ...] = ()
    statuses: tuple[str, ...] = WITH_A_PAIR
    reasons: tuple[str, ...] = ()
    answer: Literal["right", "wrong"] | None = None
    min_relevance: float | None = None
    min_loss: float | None = None
    text: str = ""
    by_token: bool = False

    @property
    def columns(self) -> list[str]:
        """What has to be read to decide."""
        names = ["step", "status", "drop_reason", "response_was_correct", "relevance", "loss"]
        names += ["chosen_tokens"]
        names += _SPANS if self.error_types else ()
        return [*names, *(_TEXTS if self.text else ())]

    @property
    def steps_to_read(self) -> range | None:
        return None if self.steps is None else range(self.steps[0], self.steps[1] + 1)

    def matches(self, table: pa.Table) -> Array:
        """Whether each row of a table matches: bool [rows]."""
        found = _true(pc.is_in(table["status"], pa.array(self.statuses, pa.string())))
        if self.steps:
            steps = table["step"].to_numpy()
            found &= (steps >= self.steps[0]) & (steps <= self.steps[1])
        if self.reasons:
            named = [_true(pc.starts_with(table["drop_reason"], name)) for name in self.reasons]
            found &= np.any(named, axis=0)
        if self.answer:
            found &= _true(pc.equal(table["response_was_correct"], self.answer == "right"))
        if self.by_token:
            found &= _true(pc.is_valid(table["chosen_tokens"]))
        for name, least in (("relevance", self.min_relevance), ("loss", self.min_loss)):
            if least is not None:
                found &= _true(pc.greater_equal(table[name], least))
        if self.error_types:
            found &= np.any([_of_types(table[name], self.error_types) for name in _SPANS], axis=0)
        if self.text:
            hits = [_contains(table[name], self.text) for name in _TEXTS]
            found &= np.any(hits, axis=0)
        return found


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows are: their step, and their index among the rows of that step; in order.

    `dropped`: whether it is a dropped answer, and not a pair; `by_token`: whether log-ratios of its
    tokens are known.
    """

    step: Array
    index: Array
    dropped: Array = field(repr=False)
    by_token: Array = field(repr=False)
    loss: Array = field(repr=False)
    relevance: Array = field(repr=False)

    @classmethod
    def at(cls, step: Array, index: Array) -> Places:
        """Places of which nothing else is known; in any order."""
        nothing = np.full(len(step), np.nan, np.float32)
        unknown = np.zeros(len(step), bool)
        return cls(step, index, unknown, unknown, nothing, nothing)

    def __len__(self) -> int:
        return len(self.step)

    def take(self, positions: Array) -> Places:
        return Places(*(getattr(self, name)[positions] for name in self.__slots__))

    def first(self, limit: int | None) -> Places:
        return self if limit is None else self.take(np.arange(min(limit, len(self))))

    def spread(self, limit: int | None) -> Places:
        """At most `limit`, evenly over all of them, in the same order."""
        return self if limit is None else self.take(evenly(np.arange(len(self)), limit))

    def by(self, order: Order) -> Places:
        """By step, or the highest loss or relevance first; rows without one are last."""
        if order == "step":
            return self
        return self.take(
            np.argsort(-np.nan_to_num(getattr(self, order), nan=-np.inf), kind="stable")
        )


def evenly(values: Array, count: int) -> Array:
    """At most `count` of the values, evenly over all of them, in order.

    Of more than STRETCHES times as many, neighbours in STRETCHES even places.
    """
    if len(values) <= count:
        return values
    if len(values) > STRETCHES * count >= STRETCHES * STRETCHES:
        starts = np.linspace(0, len(values), STRETCHES, endpoint=False).astype(int)
        return np.concatenate([values[start : start + count // STRETCHES] for start in starts])
    picked: Array = values[np.linspace(0, len(values) - 1, count).round().astype(int)]
    return picked


def find_rows(
    run: RunDirectory,
    wanted: PairFilter,
    *,
    columns: Sequence[str] = (),
    each: Callable[[pa.Table], None] = lambda table: None,
) -> Places:
    """The places of all rows that match, by step. Raises UserError if the ledger is unreadable.

    `each`: is given all rows that are read, some steps at a time, also with the `columns`.
    """
    found: list[list[Array]] = [[] for _ in Places.__slots__]
    names = [*dict.fromkeys((*wanted.columns, *columns))]
    for table in read_steps(run.ledger, names, steps=wanted.steps_to_read):
        each(table)
        (rows,) = np.nonzero(wanted.matches(table))
        steps = table["step"].to_numpy()
        values = (
            steps[rows].astype(np.int32),
            within_step(steps)[rows],
            _true(pc.equal(table["status"], "dropped"))[rows],
            _true(pc.is_valid(table["chosen_tokens"]))[rows],
            *(_numbers(table[name])[rows] for name in ("loss", "relevance")),
        )
        for part, column in zip(found, values, strict=True):
            part.append(column)
    kinds = (np.int32, np.int32, bool, bool, np.float32, np.float32)
    empty = [np.zeros(0, kind) for kind in kinds]
    return Places(*(np.concatenate([none, *part]) for none, part in zip(empty, found, strict=True)))


def within_step(steps: Array) -> Array:
    """The index of each row among those of its step; int32 [rows], `steps` is ascending.

    >>> within_step(np.array([1, 1, 1, 4, 4])).tolist()
    [0, 1, 2, 0, 1]
    """
    return (np.arange(len(steps)) - np.searchsorted(steps, steps)).astype(np.int32)


def read_rows(run: RunDirectory, places: Places) -> Iterator[dict[str, Any]]:
    """The rows at these places, in their order. If it is that of the ledger, one step at a time is
    in memory; otherwise all rows are."""
    if len(places) == 0:
        return
    if np.all(np.diff(_keys(places.step, places.index)) >= 0):
        yield from _read_in_order(run, places)
        return
    order = np.lexsort((places.index, places.step))
    rows = list(_read_in_order(run, places.take(order)))
    yield from (rows[position] for position in np.argsort(order))


def _read_in_order(run: RunDirectory, places: Places) -> Iterator[dict[str, Any]]:
    wanted = _keys(places.step, places.index)
    for table in read_steps(run.ledger, steps=np.unique(places.step).tolist()):
        steps = table["step"].to_numpy()
        here = _keys(steps, within_step(steps))
        yield from table.filter(pa.array(np.isin(here, wanted))).to_pylist()


def _keys(steps: Array, index: Array) -> Array:
    """One number for each place, in the order of places."""
    keys: Array = steps.astype(np.int64) << 32 | index
    return keys


def _of_types(spans: pa.ChunkedArray, types: tuple[str, ...]) -> Array:
    """Whether each row has a span of one of the types: bool [rows]."""
    column = spans.combine_chunks()
    kinds = pc.struct_field(pc.list_flatten(column), "error_type")
    found = np.zeros(len(column), bool)
    rows = pc.list_parent_indices(column).to_numpy()
    found[rows[_true(pc.is_in(kinds, pa.array(types, pa.string())))]] = True
    return found


def _contains(texts: pa.ChunkedArray, part: str) -> Array:
    return _true(pc.match_substring(texts, part, ignore_case=True))


def _true(values: Any) -> Array:
    """Booleans as NumPy has them; null is false."""
    found: Array = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return found.copy()


def _numbers(values: pa.ChunkedArray) -> Array:
    """float32; null is NaN."""
    return values.to_numpy(zero_copy_only=False).astype(np.float32)
