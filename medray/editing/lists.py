"""Lists of which one item, or all, become the same thing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from medray.editing.base import Replacement
from medray.editing.language.grammar import article, takes_no_article

_WORD = r"[\w'’/-]+"
_ITEM = (
    r"(?!(?:the|it|there|this|which|who|no|not|without|with|is|are|in|on|at|located|measuring|its)\b)"
    rf"(?:(?:an?)\s+)?{_WORD}(?:\s+(?!(?:and|or)\b){_WORD}){{0,4}}?(?:\s*\([^()]*\))?"
)
_BEHIND = re.compile(
    rf"(?:\s*\([^()]*\))?(?P<items>(?:\s*,\s+{_ITEM})*\s*,?\s+(?:and|or|as\s+well\s+as)\s+{_ITEM})"
    r"(?=\s*(?:[.;!]|$|,\s+(?:which|all|among)\b))",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    rf"(?:\b(?:shows?|includes?|including|as|are|is|of|like|contains?|depicts?|displays?|has|have|"
    rf"demonstrates?|reveals?)|:)\s+(?P<items>(?:{_ITEM}\s*,\s*)*{_ITEM}\s*,?\s*(?:(?:and|or)\s+)?)$",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?:\b(?:an?\s+)?(?:wide\s+)?(?:variety|number|range|group|combination)\s+of\s+|"
    r"\b(?:multiple|several|various|many|different|the\s+following|following)\s+)"
    rf"(?:{_WORD}\s+){{0,3}}?{_WORD}\s*,?\s*(?::|\b(?:such\s+as|including|like|namely)\s)\s*$"
    r"|\b(?:cases|images)\s+of\s+(?:various\s+|multiple\s+)?$",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|which|that|not|when|condition|type|has|have|shows?|appears?|can|could|may|"
    r"causes?|does|do|remains?)\b",
    re.IGNORECASE,
)


def one_of_list(
    text: str, start: int, end: int, changes: Sequence[Replacement], kept: Sequence[int]
) -> tuple[Replacement, ...]:
    """The changes, with each list of wrong findings in text[start:end] as one change.

    "pancreatitis, appendicitis and cholecystitis", one or all of them replaced by one name, become
    that name. A list with one of the positions `kept`, which are right, stays a list.
    """
    merged: list[Replacement] = []
    reached = start
    for item in changes:
        if item.start < reached:
            continue
        if item.error_type == "kind" and item.text:
            first, last = _extent(text, start, end, item)
            within = any(first <= position < last for position in kept)
            wide = (first, last) != (item.start, item.end)
            others = (c for c in changes if first <= c.start and c.end <= last)
            if (
                wide
                and not within
                and all(c.error_type == "kind" or not c.text or first < c.start for c in others)
            ):
                merged = [m for m in merged if m.end <= first]
                item = replace(item, start=first, end=last, text=_named(text, first, item.text))
        merged.append(item)
        reached = item.end
    return tuple(merged)


def list_left(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The other items of the list that text[start:end] is an item of, as one range."""
    first, last = _items(text, 0, len(text), start, end)
    if last > end:
        return end, last
    return (first, start) if first < start else None


def _extent(text: str, start: int, end: int, item: Replacement) -> tuple[int, int]:
    """The characters of the list that an item is in, with what announces it."""
    first, last = _items(text, start, end, item.start, item.end)
    if (first, last) == (item.start, item.end):
        return first, last
    announced = _NAMED.search(text, start, first)
    return (announced.start() if announced else first), last


def _items(text: str, start: int, end: int, first: int, last: int) -> tuple[int, int]:
    behind = _BEHIND.match(text, last, end)
    if behind and not _VERB.search(behind["items"]):
        last = behind.end("items")
    before = _BEFORE.search(text[start:first])
    if before and not _VERB.search(before["items"]) and re.search(r",|\band|\bor", before["items"]):
        first = start + before.start("items")
    return first, last


def _named(text: str, start: int, name: str) -> str:
    """The name, with an article if it takes one behind a verb."""
    bare = re.sub(r"^(?:an?|the)\s+", "", name)
    if takes_no_article(bare) or bare.endswith("s") or bare != name:
        return name
    if re.search(r"\b(?:cancer|disease)$", bare):
        return name
    return f"{article(bare)} {bare}"
