"""What every editor provides, and how replacements become the two sides of an edit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from medray.editing.sentences import Sentence
from medray.records import Edit, EditedSentence, Span, VerdictName


class Editor(Protocol):
    """Judges an answer against its reference and makes the other side of the pair.

    `edit` never raises because of what a model sampled: if it cannot judge, it abstains.
    The same arguments give the same result on every machine.
    """

    name: str
    version: str

    def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit: ...


class CannotRewrite(Exception):
    """This way of rewriting yields no sentence; another may."""


class Change(NamedTuple):
    """`text` replaces the characters [start, end) of an answer."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """A change of the answer, with the type of error it resolves or makes, and the reason."""

    start: int
    end: int
    text: str
    error_type: str
    reason: str


def apply(answer: str, replacements: Sequence[Replacement]) -> str:
    """The answer with sorted, non-overlapping replacements applied.

    >>> apply("left lung", [Replacement(0, 4, "right", "side", "")])
    'right lung'
    """
    parts, position = [], 0
    for item in replacements:
        parts += [answer[position : item.start], item.text]
        position = item.end
    return "".join([*parts, answer[position:]])


def arrange(answer: str, replacements: Iterable[Replacement]) -> tuple[Replacement, ...]:
    """Replacements sorted, without those that change nothing; of overlapping ones the widest."""
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
    """The record of arranged replacements: the new text, and each one's spans on both sides."""
    answer_spans, text_spans, shift = [], [], 0
    for item in replacements:
        labels = (item.error_type, severity[item.error_type], item.reason)
        answer_spans.append(Span(item.start, item.end, *labels))
        start = item.start + shift
        text_spans.append(Span(start, start + len(item.text), *labels))
        shift += len(item.text) - (item.end - item.start)
    return Edit(
        verdict, apply(answer, replacements), tuple(answer_spans), tuple(text_spans), reason
    )


def build_sentence(
    answer: str,
    part: Sentence,
    replacements: Sequence[Replacement],
    severity: dict[str, float],
    reason: str = "",
) -> EditedSentence:
    """The record of arranged replacements inside one sentence of the answer."""
    inside = [replace(r, start=r.start - part.start, end=r.end - part.start) for r in replacements]
    edit = build_edit("wrong", answer[part.start : part.end], inside, severity)
    return EditedSentence(*part, edit.text, edit.answer_spans, edit.text_spans, reason)


def in_answer(verdict: VerdictName, answer: str, edited: EditedSentence) -> Edit:
    """The edit of an answer that changes only this sentence."""
    text = answer[: edited.start] + edited.text + answer[edited.end :]
    answer_spans, text_spans = (
        tuple(replace(s, start=s.start + edited.start, end=s.end + edited.start) for s in spans)
        for spans in (edited.answer_spans, edited.text_spans)
    )
    return Edit(verdict, text, answer_spans, text_spans, edited.reason, (edited,))


def edit_fraction(answer: str, spans: Sequence[Span]) -> float:
    """The fraction of the answer's words that the spans touch; 0.0 for an answer without words.

    An insertion point touches the word it is inside; between words it touches none.

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
    """Whether both share characters, or one is an insertion inside or at an edge of the other."""
    if one.start == one.end or other.start == other.end:
        return one.start <= other.end and other.start <= one.end
    return max(one.start, other.start) < min(one.end, other.end)
