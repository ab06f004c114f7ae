"""Which pairs a person is shown, and a text cut at the spans that were edited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_CANDIDATES = 64  # per stratum: enough variety, and a long run is still quick to choose from


@dataclass(frozen=True)
class PairPicture:
    """A row of the ledger with what the policy saw.

    `image` and `corrupted` are uint8 [H, W, 3], `region` is bool [H, W]; None where there is
    none. `note` says in a sentence why a picture is missing, "" if nothing is.
    """

    row: dict[str, Any]
    image: np.ndarray | None = field(default=None, compare=False)
    corrupted: np.ndarray | None = field(default=None, compare=False)
    region: np.ndarray | None = field(default=None, compare=False)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a text: plain, or edited with its error type and the reason.

    An edited segment of empty text is an insertion point.
    """

    text: str
    error_type: str = ""
    reason: str = ""
    edited: bool = False


def segments(text: str | None, spans: Sequence[dict[str, Any]] | None) -> list[Segment]:
    """`text` cut at its spans, in order. Spans outside the text or overlapping are clipped.

    >>> [s.text for s in segments("left apex", [{"start": 0, "end": 4, "error_type": "side",
    ...                                          "severity": 1.0, "reason": ""}])]
    ['left', ' apex']
    """
    text = text or ""
    pieces: list[Segment] = []
    at = 0
    for span in sorted(spans or [], key=lambda span: (span["start"], span["end"])):
        start = min(max(span["start"], at), len(text))
        end = min(max(span["end"], start), len(text))
        if start > at:
            pieces.append(Segment(text[at:start]))
        kind, reason = span["error_type"] or "", span["reason"] or ""
        pieces.append(Segment(text[start:end], kind, reason, edited=True))
        at = end
    if at < len(text):
        pieces.append(Segment(text[at:]))
    return pieces


def error_types(row: dict[str, Any]) -> tuple[str, ...]:
    """The error types of a row's edits, each once, in order of appearance."""
    spans = [*(row["rejected_spans"] or []), *(row["chosen_spans"] or [])]
    return tuple(dict.fromkeys(span["error_type"] for span in spans if span["error_type"]))


def choose_pairs(table: pa.Table, n: int = 12) -> list[dict[str, Any]]:
    """At most `n` trained rows, in order of steps, spread over steps and error types.

    The rows are cut into `n` stretches of equal length; from each comes the row whose error
    types were shown least so far. The same table always gives the same rows.
    """
    trained = table.filter(pc.equal(table["status"], "trained"))
    trained = trained.sort_by([("step", "ascending"), ("pair_id", "ascending")])
    edges = np.linspace(0, trained.num_rows, min(n, trained.num_rows) + 1).astype(int)
    shown: Counter[str] = Counter()
    chosen: list[dict[str, Any]] = []
    for start, end in pairwise(edges.tolist()):
        every = -(-(end - start) // _CANDIDATES)
        rows = trained.take(list(range(start, end, every))).to_pylist()
        best = min(rows, key=lambda row: _familiarity(error_types(row), shown))
        shown.update(error_types(best))
        chosen.append(best)
    return chosen


def rows_of_step(table: pa.Table, step: int | None) -> list[dict[str, Any]]:
    """All rows of one step that hold a pair; of the last step that has any where None."""
    pairs = table.filter(pc.is_valid(table["chosen"]))
    if step is None:
        step = pc.max(pairs["step"]).as_py()
    if step is None:
        return []
    return pairs.filter(pc.equal(pairs["step"], step)).sort_by("pair_id").to_pylist()


def _familiarity(types: tuple[str, ...], shown: Counter[str]) -> tuple[bool, float]:
    return (not types, sum(shown[kind] for kind in types) / max(len(types), 1))
