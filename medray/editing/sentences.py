"""The sentences of an answer, each with its characters: what a pair is made of.

A heading, a list's number or bullet and the blanks between two sentences belong to none: they stay
in the prefix of the sentence behind them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_STOP = re.compile(r"(?:[.!?]+[\"'”’)\]*]*(?=\s|$))|[\r\n]+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"])(?:dr|mr|mrs|ms|prof|st|vs|v|fig|figs|approx|cf|al|resp|incl|ca|est|"
    r"(?:[a-z]\.)+[a-z])$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?:^|[\s(])(?:no|nos|fig|vol|pt)$", re.IGNORECASE)
_LABEL = re.compile(r"\d{1,2}[.)]\s+(?=\S)|\(\d\)\s+(?=\S)")
_OPTION = re.compile(r"\b(?:answer|option|choice)\s*(?:is|:)?\s*\(?[A-H]$", re.IGNORECASE)
_LIST_NUMBER = re.compile(r"(?:^|\s)(\d{1,2})$")
_INLINE_LABEL = re.compile(r"(?<=\s)(\d{1,2})[.)]\s+(?=[A-Z])")
_BULLET = re.compile(r"[\s>#*_•·▪–—-]*(?=[\w\"'“‘(\[<\\])")
_HEADING = re.compile(
    r"(?!(?:[Yy]es|YES|[Nn]o|NO)\b|[A-Z]\b)(?:[A-Z][A-Z0-9/&-]*(?:\s+[A-Z0-9/&-]+){0,4}"
    r"|[A-Z][\w/&'-]*(?:\s+(?:[A-Z][\w/&'-]*|and|of|the|or|answer|findings|impression|diagnosis))"
    r"{0,3})\s*:[*_]*(?=\s|$)"
)
_SECTION = re.compile(
    r"(?:findings?|impressions?|conclusions?|comparison|indication|technique|history|assessment|"
    r"summary|diagnosis|results?|report|recommendations?)[*_]*$",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w")
MOST = 24  # sentences of one answer that are edited: each is read behind all before it


class Sentence(NamedTuple):
    """Number `number` (from 0) of a text's sentences: its characters [start, end)."""

    number: int
    start: int
    end: int


def split(text: str) -> tuple[Sentence, ...]:
    """The sentences of a text, in order, without blanks around them.

    >>> [("5.6 cm, vs. 4 cm before. No change."[s.start : s.end]) for s in
    ...  split("5.6 cm, vs. 4 cm before. No change.")]
    ['5.6 cm, vs. 4 cm before.', 'No change.']
    >>> text = "FINDINGS: The lungs are clear."
    >>> [text[s.start : s.end] for s in split(text)]
    ['The lungs are clear.']
    """
    pieces = (_trimmed(text, start, end) for start, end in _pieces(text))
    spans = [(start, end) for start, end in pieces if _WORD.search(text, start, end)]
    return tuple(Sentence(number, *span) for number, span in enumerate(spans))


def sentence_at(sentences: Sequence[Sentence], position: int) -> Sentence | None:
    """The sentence that a character is in, or the next one; None behind the last."""
    return next((sentence for sentence in sentences if position < sentence.end), None)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for stop in _STOP.finditer(text):
        if stop.group()[0] == "." and not _ends(text, start, stop):
            continue
        yield from _inline(text, start, stop.end())
        start = stop.end()
    yield from _inline(text, start, len(text))


def _ends(text: str, start: int, stop: re.Match[str]) -> bool:
    """Whether a full stop ends the sentence that began at `start`."""
    before = text[start : stop.start()]
    following = text[stop.end() :].lstrip(" \t")[:1]
    if len(stop.group()) > 1 and following.islower():
        return False  # "the so-called "sail sign." is"
    if (label := _LIST_NUMBER.search(before)) and _goes_on(before[: label.start()], int(label[1])):
        return False
    if _NUMBER.search(before) and following.isdigit():
        return False
    if re.fullmatch(r"[\s*_(]*(?:\d{1,2}|[A-Za-z])", before) and following:
        return False  # the label of a list's item
    if _OPTION.search(before) and following:
        return False  # the letter of an option
    return not (_ABBREVIATION.search(before) and following)


def _goes_on(before: str, number: int) -> bool:
    """Whether the number of a list's item follows: the first after a colon, a later in order."""
    if number == 1:
        return before.rstrip().endswith(":")
    return re.search(rf"(?:^|\s){number - 1}[.)]\s", before) is not None


def _inline(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The items of a list that is written in one line: "1. … 2. …"."""
    labels = list(_INLINE_LABEL.finditer(text, start, end))
    opened = re.match(r"\s*1[.)]\s", text[start:end]) is not None
    expected = 2 if opened else 1
    position = start
    for label in labels:
        if int(label[1]) != expected:
            continue
        if expected == 1 and not text[position : label.start()].rstrip().endswith(":"):
            continue
        yield position, label.start()
        position, expected = label.start(), expected + 1
    yield position, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """[start, end) without blanks, the bullet or number, and the heading in front."""
    end -= len(text[start:end]) - len(text[start:end].rstrip())
    while True:
        before = start
        for pattern in (_BULLET, _LABEL, _HEADING):
            match = pattern.match(text, start, end)
            if match is not None:
                start = match.end()
        if start == before or start >= end:
            break
    start += len(text[start:end]) - len(text[start:end].lstrip())
    if _SECTION.fullmatch(text, start, end):
        start = end
    return min(start, end), end
