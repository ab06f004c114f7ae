"""Cuts a sentence into segments, one per finding, with the attributes that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from medray.editing.language.grammar import plain_stems
from medray.editing.language.text import Mention, Word, stem
from medray.editing.ontology.lexicon import Ontology

_LETTERS = 4  # shorter words mean little


@dataclass(frozen=True, slots=True)
class Segment:
    """Words first..last of a sentence, the mentions in it, and which of them are heads."""

    first: int
    last: int
    mentions: tuple[Mention, ...]
    heads: tuple[Mention, ...]


def cut(words: Sequence[Word], mentions: Sequence[Mention], onto: Ontology) -> list[Segment]:
    """The segments of a sentence, each about at most one finding or the heart."""
    heads = find_heads(mentions, onto)
    starts = [0]
    for before, after in pairwise(heads):
        if (boundary := _boundary(words, before, after, onto)) is not None:
            starts.append(boundary)
    segments = []
    for first, next_first in zip(starts, [*starts[1:], len(words)], strict=True):
        inside = tuple(m for m in mentions if first <= m.first < next_first)
        segments.append(
            Segment(first, next_first - 1, inside, tuple(h for h in heads if h in inside))
        )
    return segments


def clause_start(words: Sequence[Word], index: int) -> int:
    """The first word of the part between commas, or behind "with" or "and", that a word is in."""
    starts = (
        i for i in range(index, 0, -1) if words[i].after_comma or words[i].text in ("with", "and")
    )
    return next(starts, 0)


def clause_stop(words: Sequence[Word], index: int) -> int:
    """The word behind the part between commas, or "and", that a word is in."""
    following = range(index + 1, len(words))
    ends = (i for i in following if words[i].after_comma or words[i].text == "and")
    return next(ends, len(words))


def find_heads(mentions: Sequence[Mention], onto: Ontology) -> list[Mention]:
    """The mentions that a statement can be about, in text order."""
    about_heart = any(m.attribute == "heart-subject" for m in mentions)
    has_state = any(m.attribute in ("heart-normal", "heart-enlarged") for m in mentions)
    states = {(m.first, m.last) for m in mentions if m.attribute == "heart-normal"}
    return [
        m
        for m in mentions
        if m.attribute in ("kind", "heart-finding")
        or (m.attribute == "heart-subject" and has_state)
        or (m.attribute == "clear" and not (about_heart and (m.first, m.last) in states))
    ]


def _boundary(words: Sequence[Word], before: Mention, after: Mention, onto: Ontology) -> int | None:
    """The word that the second head's segment begins with; None if both name one subject."""
    between = range(before.last + 1, after.first + 1)
    cues = onto.language["negation"]["before"]
    denials = [cue.split()[0] for cue in cues if not cue.endswith("clear of")]  # behind a subject
    connectors = {*onto.language["connectors"], *denials}
    hedges = onto.language["open"]
    at_connectors = [i for i in between if words[i].text in connectors]
    if at_connectors:
        # "with no", "and without": the clause begins at the first of adjacent connectors
        start = at_connectors[-1]
        while start - 1 in at_connectors or (
            start - 1 > before.last and words[start - 1].text in hedges
        ):
            start -= 1
        return start
    after_commas = [i for i in between if words[i].after_comma]
    if after_commas:
        return after_commas[-1]
    if _one_subject(before, after, onto):
        return None
    return after.first


def _one_subject(before: Mention, after: Mention, onto: Ontology) -> bool:
    """ "The lesion is a nodule", "cardiomegaly of the heart": two names for one thing."""
    hearts = before.attribute.startswith("heart-") and after.attribute.startswith("heart-")
    kinds = before.attribute == after.attribute == "kind"
    return hearts or (kinds and onto.compatible(before.value, after.value))


def names_a_thing(words: Sequence[Word], segment: Segment) -> bool:
    """Whether words that no rule reads stand before the last mention: "normal" may be of these."""
    last = max((m.first for m in segment.mentions), default=segment.first)
    known = {i for m in segment.mentions for i in range(m.first, m.last + 1)}
    unread = (words[i].text for i in range(segment.first, last) if i not in known)
    return any(len(word) >= _LETTERS and stem(word) not in plain_stems() for word in unread)


def own_sides(
    words: Sequence[Word], head: Mention | None, details: tuple[Mention, ...], onto: Ontology
) -> tuple[Mention, ...]:
    """The details without the side of another noun behind a "with": "right pneumothorax with
    leftward mediastinal shift"."""
    sides = [m for m in details if m.attribute == "side"]
    if head is None or len({m.value for m in sides}) < 2:
        return details
    link = next((i for i in range(head.last, len(words)) if words[i].text == "with"), len(words))
    before = [m for m in sides if m.first < link]
    places = onto.language["place_nouns"]
    other = {
        id(m)
        for m in sides
        if before and m.first > link and m.last + 1 < len(words)
        if words[m.last + 1].joined and words[m.last + 1].text not in places
    }
    return tuple(m for m in details if id(m) not in other)


def of_unknown_noun(
    words: Sequence[Word], detail: Mention, segment: Segment, onto: Ontology
) -> bool:
    """Whether an adjective belongs to a noun that is not understood: "a right aortic knuckle"."""
    following = detail.last + 1
    if detail.form != "adjective" or following >= len(words) or not words[following].joined:
        return False
    known = any(m.first <= following <= m.last for m in segment.mentions)
    return not known and words[following].text not in onto.language["place_nouns"]
