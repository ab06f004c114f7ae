"""Cuts a sentence between its findings, each part with the attributes that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from medray.editing.language.text import Mention, Word
from medray.editing.ontology.lexicon import Ontology


@dataclass(frozen=True, slots=True)
class Segment:
    """Words first..last of a sentence, what is mentioned there, and which mentions are heads."""

    first: int
    last: int
    mentions: tuple[Mention, ...]
    heads: tuple[Mention, ...]


def cut(words: Sequence[Word], found: Sequence[Mention], onto: Ontology) -> list[Segment]:
    """The segments of a sentence: at most one finding each, or the heart."""
    heads = find_heads(found, onto)
    starts = [0]
    for before, after in pairwise(heads):
        if (boundary := _boundary(words, before, after, onto)) is not None:
            starts.append(boundary)
    segments = []
    for first, following in zip(starts, [*starts[1:], len(words)], strict=True):
        inside = tuple(m for m in found if first <= m.first < following)
        segments.append(
            Segment(first, following - 1, inside, tuple(h for h in heads if h in inside))
        )
    return segments


def find_heads(found: Sequence[Mention], onto: Ontology) -> list[Mention]:
    """The mentions a statement can be about, in order of place."""
    about_heart = any(m.attribute == "heart-subject" for m in found)
    has_state = any(m.attribute in ("heart-normal", "heart-enlarged") for m in found)
    states = {(m.first, m.last) for m in found if m.attribute == "heart-normal"}
    return [
        m
        for m in found
        if m.attribute in ("kind", "heart-finding")
        or (m.attribute == "heart-subject" and has_state)
        or (m.attribute == "clear" and not (about_heart and (m.first, m.last) in states))
    ]


def _boundary(words: Sequence[Word], before: Mention, after: Mention, onto: Ontology) -> int | None:
    """The word the second head's segment begins with; None where both are one subject."""
    between = range(before.last + 1, after.first + 1)
    denials = [phrase.split()[0] for phrase in onto.language["negation"]["before"]]
    connectors = {*onto.language["connectors"], *denials}
    hedges = onto.language["open"]
    joined = [i for i in between if words[i].text in connectors]
    if joined:
        # "with no", "and without": the clause begins at the first of adjoining connectors
        start = joined[-1]
        while start - 1 in joined or (start - 1 > before.last and words[start - 1].text in hedges):
            start -= 1
        return start
    commas = [i for i in between if words[i].after_comma]
    if commas:
        return commas[-1]
    if _one_subject(before, after, onto):
        return None
    return after.first


def _one_subject(before: Mention, after: Mention, onto: Ontology) -> bool:
    """ "The lesion is a nodule", "cardiomegaly of the heart": two words for one thing."""
    hearts = before.attribute.startswith("heart-") and after.attribute.startswith("heart-")
    kinds = before.attribute == after.attribute == "kind"
    return hearts or (kinds and onto.compatible(before.value, after.value))
