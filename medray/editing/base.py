"""What every editor is, and how replacements become the two sides of an edit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from medray.records import Edit, Span, VerdictName


class Editor(Protocol):
    """Judges one answer against its reference and makes the other side of the pair.

    `edit` never raises for what a model may have sampled: where it cannot judge, it abstains.
    The same arguments give the same result, on every machine.
    """

    name: str
    version: str

    def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit: ...


@dataclass(frozen=True, slots=True)
class Replacement:
    """`text` instead of the characters [start, end) of the answer."""

    start: int
    end: int
    text: str
    error_type: str
    reason: str


def apply(answer: str, replacements: Sequence[Replacement]) -> str:
    """The answer with sorted, non-overlapping replacements made.

    >>> apply("left lung", [Replacement(0, 4, "right", "side", "")])
    'right lung'
    """
    parts, position = [], 0
    for item in replacements:
        parts += [answer[position : item.start], item.text]
        position = item.end
    return "".join([*parts, answer[position:]])


def arrange(answer: str, replacements: Iterable[Replacement]) -> tuple[Replacement, ...]:
    """Sorted, what changes nothing left out, and of overlapping ones the widest kept."""
    kept: list[Replacement] = []
    for item in sorted(replacements, key=lambda r: (r.start - r.end, r.start)):
        changes = answer[item.start : item.end] != item.text
        if changes and all(not _overlap(item, other) for other in kept):
            kept.append(item)
    return tuple(sorted(kept, key=lambda r: (r.start, r.end)))


def build_edit(
    verdict: VerdictName,
    answer: str,
    replacements: Sequence[Replacement],
    severity: dict[str, float],
    reason: str = "",
) -> Edit:
    """The record of arranged replacements: the new text, and spans on both sides of each."""
    answer_spans, text_spans, shift = [], [], 0
    for item in replacements:
        about = (item.error_type, severity[item.error_type], item.reason)
        answer_spans.append(Span(item.start, item.end, *about))
        start = item.start + shift
        text_spans.append(Span(start, start + len(item.text), *about))
        shift += len(item.text) - (item.end - item.start)
    return Edit(
        verdict, apply(answer, replacements), tuple(answer_spans), tuple(text_spans), reason
    )


def edit_fraction(answer: str, spans: Sequence[Span]) -> float:
    """The share of the answer's words that the spans touch; 0.0 for an answer without words.

    An insertion point touches the word it stands in or, between words, none.

    >>> edit_fraction("Small left nodule", [Span(6, 10, "side", 1.0, "")]) == 1 / 3
    True
    """
    words = [match.span() for match in re.finditer(r"\S+", answer)]
    touched = sum(
        any(max(a, s.start) < min(b, s.end) or a < s.start == s.end < b for s in spans)
        for a, b in words
    )
    return touched / len(words) if words else 0.0


def _overlap(one: Replacement, other: Replacement) -> bool:
    """Shared characters, or two insertions at (or an insertion inside) the same place."""
    if one.start == one.end or other.start == other.end:
        return one.start <= other.end and other.start <= one.end
    return max(one.start, other.start) < min(one.end, other.end)
