"""A row with its images: choose a sample of rows, and split their texts at the edited spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

_CANDIDATES = 64  # per stretch of rows: enough variety, and still fast for a long run


@dataclass(frozen=True, slots=True, eq=False)
class SeenImage:
    """One image that the policy saw, uint8 [H, W, 3], its region, bool [H, W], and what stands for
    it in v'; both None where there is none."""

    image: np.ndarray
    region: np.ndarray | None = None
    corrupted: np.ndarray | None = None


@dataclass(frozen=True)
class PairImages:
    """A row of the ledger with the images of its case that the policy saw, in order; none if they
    are not to be shown.

    `note` says in one sentence why an image is missing; "" if none is.
    """

    row: dict[str, Any]
    images: tuple[SeenImage, ...] = field(default=(), compare=False)
    note: str = ""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A token within a part of a text; `level`: the class of its log-ratio, `number`: the same to
    read, "" if there is none. Without text: the end-of-turn token."""

    text: str
    level: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class TextPart:
    """Part of a text: plain, or edited, with the error type and the reason of the edit.

    An edited part without text is an insertion point. `pieces`: its tokens, if they are known.
    """

    text: str
    error_type: str = ""
    reason: str = ""
    edited: bool = False
    pieces: tuple[TextPiece, ...] = ()


def text_parts(text: str | None, spans: Sequence[dict[str, Any]] | None) -> list[TextPart]:
    """Split `text` at its spans, in order. Spans that overlap or exceed the text are clipped.

    >>> spans = [{"start": 0, "end": 4, "error_type": "side", "severity": 1.0, "reason": ""}]
    >>> [part.text for part in text_parts("left apex", spans)]
    ['left', ' apex']
    """
    text = text or ""
    parts: list[TextPart] = []
    position = 0
    for span in sorted(spans or [], key=lambda span: (span["start"], span["end"])):
        start = min(max(span["start"], position), len(text))
        end = min(max(span["end"], start), len(text))
        if start > position:
            parts.append(TextPart(text[position:start]))
        error_type, reason = span["error_type"] or "", span["reason"] or ""
        parts.append(TextPart(text[start:end], error_type, reason, edited=True))
        position = end
    if position < len(text):
        parts.append(TextPart(text[position:]))
    return parts


def error_types(row: dict[str, Any]) -> tuple[str, ...]:
    """The error types of a row's edits, each once, in order of appearance."""
    spans = [*(row["rejected_spans"] or []), *(row["chosen_spans"] or [])]
    return tuple(dict.fromkeys(span["error_type"] for span in spans if span["error_type"]))


def choose_pairs(rows: Sequence[dict[str, Any]], n: int = 12) -> list[dict[str, Any]]:
    """At most `n` of the rows, ordered by step, spread over steps and error types.

    The rows are split into `n` stretches of equal length; each contributes the row whose error
    types have been shown least so far. The same rows always give the same ones.
    """
    ordered = sorted(rows, key=lambda row: (row["step"], row["pair_id"]))
    edges = np.linspace(0, len(ordered), min(n, len(ordered)) + 1).astype(int)
    shown: Counter[str] = Counter()
    chosen: list[dict[str, Any]] = []
    for start, end in pairwise(edges.tolist()):
        stride = -(-(end - start) // _CANDIDATES)
        candidates = ordered[start:end:stride]
        best = min(candidates, key=lambda row: _times_shown(error_types(row), shown))
        shown.update(error_types(best))
        chosen.append(best)
    return chosen


def _times_shown(types: tuple[str, ...], shown: Counter[str]) -> tuple[bool, float]:
    return (not types, sum(shown[name] for name in types) / max(len(types), 1))
