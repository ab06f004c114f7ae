"""The log-ratio of each token, log π/π₀, as a strip under a text.

text ─ spans ─▶ parts ─ tokens ─▶ pieces, each with a class of the style and its number
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from medray.report.pairs.rows import TextPart, TextPiece

LEVELS = (0.05, 0.25, 1.0)  # nats, where a class of the style begins; below the first: unchanged
BYTES = 34  # of a token on a page, beside its text


@dataclass(slots=True)
class _Group:
    """Tokens that hold the same characters [start, end): together they are one character."""

    start: int
    end: int
    log_ratio: float | None


def with_strip(
    parts: Sequence[TextPart], tokens: Sequence[dict[str, Any]] | None
) -> list[TextPart]:
    """The parts of a text, cut further into its tokens; as they are without `tokens`.

    `tokens`: start, end and log_ratio of each, as the ledger has them. An empty one (the end of
    turn) is a part of its own at the end.
    """
    if not tokens:
        return list(parts)
    groups = _groups(tokens)
    cut, position = [], 0
    for part in parts:
        end = position + len(part.text)
        cut.append(replace(part, pieces=_pieces(part.text, position, groups)))
        position = end
    ends = [_piece("", token["log_ratio"]) for token in tokens if token["start"] == token["end"]]
    return [*cut, *([TextPart("", pieces=tuple(ends))] if ends else [])]


def strip_size(row: dict[str, Any]) -> int:
    """About how many bytes the strips of a row take on a page."""
    return BYTES * sum(len(row[f"{side}_tokens"] or ()) for side in ("chosen", "rejected"))


def level(log_ratio: float | None) -> str:
    """The class of a log-ratio: m3 … m1 (less likely), "" (unchanged), p1 … p3 (more likely).

    >>> [level(value) for value in (-2.0, -0.1, 0.04, 0.25, 1.0, None)]
    ['m3', 'm1', '', 'p2', 'p3', 'none']
    """
    if log_ratio is None:
        return "none"
    size = bisect_right(LEVELS, abs(log_ratio))
    return f"{'p' if log_ratio > 0 else 'm'}{size}" if size else ""


def _groups(tokens: Sequence[dict[str, Any]]) -> list[_Group]:
    """What tokens hold, in order and without overlaps; log-ratios of one character add up."""
    groups: list[_Group] = []
    for token in tokens:
        start, end, value = token["start"], token["end"], token["log_ratio"]
        if start == end:
            continue
        last = groups[-1] if groups else None
        if last is None or start >= last.end:
            groups.append(_Group(start, end, value))
            continue
        last.end = max(last.end, end)
        known = last.log_ratio is not None and value is not None
        last.log_ratio = last.log_ratio + value if known else None
    return groups


def _pieces(text: str, start: int, groups: Sequence[_Group]) -> tuple[TextPiece, ...]:
    """The characters [start, start + len(text)) by token; what no token holds has no number."""
    pieces, position, end = [], start, start + len(text)
    for group in groups:
        first, last = max(group.start, position), min(group.end, end)
        if first >= last:
            continue
        if first > position:
            pieces.append(TextPiece(text[position - start : first - start]))
        pieces.append(_piece(text[first - start : last - start], group.log_ratio))
        position = last
    rest = text[position - start :]
    return (*pieces, *([TextPiece(rest)] if rest else []))


def _piece(text: str, log_ratio: float | None) -> TextPiece:
    number = "not finite" if log_ratio is None else f"{log_ratio:+.2f}".replace("-", "−")
    return TextPiece(text, level(log_ratio), number)
