"""Marks what a sentence denies: each cue reaches over its own clause, and no further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medray.editing.language.segments import Segment, cut
from medray.editing.language.text import Mention, Word
from medray.editing.ontology.lexicon import Ontology


def negate(words: Sequence[Word], found: Sequence[Mention], onto: Ontology) -> list[Mention]:
    """The mentions of one sentence, `negated` set where a cue reaches them.

    "before" cues ("no", "without") deny what follows in their segment and are carried over
    "or" and commas to the findings listed after it. "not" denies what follows it. "after" cues
    ("is absent", "not seen") deny what their segment is about, and the findings listed before.
    """
    if not any(m.attribute == "negation" for m in found):
        return list(found)
    segments = cut(words, found, onto)
    denied: set[int] = set()
    carried = False
    for index, segment in enumerate(segments):
        carried = carried and index > 0 and _carries(words, segment, onto)
        if carried:
            denied |= {id(m) for m in segment.heads}
        for cue in (m for m in segment.mentions if m.attribute == "negation"):
            if cue.value == "after":
                denied |= {id(m) for m in segment.heads if m.last < cue.first}
                denied |= _listed_before(words, segments, index, onto)
            else:
                end = _reach(words, cue, segment, onto)
                denied |= {id(m) for m in segment.mentions if cue.last < m.first < end}
                carried = carried or (cue.value == "before" and bool(segment.heads))
    return [replace(m, negated=True) if id(m) in denied else m for m in found]


def _reach(words: Sequence[Word], cue: Mention, segment: Segment, onto: Ontology) -> int:
    """The word at which a denial ends: "not a CT but an MRI" denies the CT only."""
    breaks = onto.language["breaks"]
    inside = range(cue.last + 1, segment.last + 1)
    return next((i for i in inside if words[i].text in breaks), segment.last + 1)


def _carries(words: Sequence[Word], segment: Segment, onto: Ontology) -> bool:
    """Whether a denial in the segment before reaches this one: "no mass or nodule" does,
    "no mass, and the heart is enlarged" and "no mass but a nodule" do not."""
    language = onto.language
    inside = [word.text for word in words[segment.first : segment.last + 1]]
    if inside[0] in ("or", "nor"):
        return not _own_verb(inside, onto)
    body = inside[1:] if inside[0] in language["connectors"] else inside
    fresh = inside[0] in ("with", "but", "however", "although", "while", "whereas", "plus")
    fresh = fresh or (bool(body) and body[0] in language["fresh_start"])
    return not fresh and not _own_verb(inside, onto)


def _own_verb(inside: Sequence[str], onto: Ontology) -> bool:
    """A verb of its own makes a clause of its own, unless it is the list's shared predicate."""
    language = onto.language
    shared = any(word in language["shared_predicate"] for word in inside)
    return not shared and any(word in language["verbs"] for word in inside)


def _listed_before(
    words: Sequence[Word], segments: Sequence[Segment], index: int, onto: Ontology
) -> set[int]:
    """Heads of the segments that share the predicate: "nodule and mass are not seen"."""
    denied: set[int] = set()
    while index > 0 and words[segments[index].first].text in ("or", "and", "nor"):
        index -= 1
        inside = [w.text for w in words[segments[index].first : segments[index].last + 1]]
        if any(word in onto.language["verbs"] for word in inside):
            break
        denied |= {id(m) for m in segments[index].heads}
    return denied
