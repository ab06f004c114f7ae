"""Marks what a sentence denies: the scope of each negation cue is its own clause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from medray.editing.language.segments import Segment, cut
from medray.editing.language.text import Mention, Word
from medray.editing.ontology.lexicon import Ontology

_NEGATION = re.compile(r"\b(?:no|not|nor|never|without|neither|cannot)\b|n['’]t\b", re.IGNORECASE)

_OF_REACH = 3  # words from "of" to the finding: "of the right"
_DESCRIBE = frozenset({"size", "grade", "measure", "number", "age"})


def n_negations(text: str) -> int:
    """How often a text says no, not, without and the like."""
    return len(_NEGATION.findall(text))


def negate(words: Sequence[Word], mentions: Sequence[Mention], onto: Ontology) -> list[Mention]:
    """The mentions of one sentence, with `negated` set on those in the scope of a cue.

    "before" cues ("no", "without") deny what follows in their segment and carry over "or" and
    commas to the findings listed after it. "not" denies what follows it. "after" cues ("is
    absent", "not seen") deny the heads of their segment and the findings listed before it.
    """
    if not any(m.attribute == "negation" for m in mentions):
        return list(mentions)
    segments = cut(words, mentions, onto)
    own = {id(m) for m in mentions if m.attribute == "kind" and _has_part(words, m, onto)}
    denied: set[int] = set()
    carried = listed = False
    for index, segment in enumerate(segments):
        opening = words[segment.first].text
        listed = listed and opening in ("or", "nor", "including", "such")
        carried = (carried and index > 0 and carries(words, segment, onto)) or listed
        if carried:
            denied |= {id(m) for m in segment.heads}
        for cue in (m for m in segment.mentions if m.attribute == "negation"):
            if cue.value == "after":
                denied |= {id(m) for m in segment.heads if m.last < cue.first}
                denied |= _listed_before(words, segments, index, onto)
            else:
                end = _scope_end(words, cue, segment, onto)
                denied |= {id(m) for m in segment.mentions if cue.last < m.first < end}
                carried = carried or (cue.value == "before" and bool(segment.heads))
                listed = listed or any(cue.last < m.first < end for m in segment.heads)
    denied -= own
    return [replace(m, negated=True) if id(m) in denied else m for m in mentions]


def _has_part(words: Sequence[Word], finding: Mention, onto: Ontology) -> bool:
    """Whether only a part or a property of a finding is spoken of, and the finding is there: "the
    feeding tube tip is not seen", "the cause of the effusion is not evident"."""
    parts = onto.language["parts"]
    following = words[finding.last + 1 : finding.last + 3]
    if following and following[0].joined and any(w.text in parts for w in following):
        return True
    before = [word.text for word in words[max(0, finding.first - 5) : finding.first]]
    if "of" not in before:
        return False
    place = len(before) - 1 - before[::-1].index("of")
    return place > 0 and before[place - 1] in parts and len(before) - place <= _OF_REACH


def _scope_end(words: Sequence[Word], cue: Mention, segment: Segment, onto: Ontology) -> int:
    """The word at which a denial's scope ends: "not a CT but an MRI" denies the CT only."""
    breaks = onto.language["breaks"]
    inside = range(cue.last + 1, segment.last + 1)
    return next((i for i in inside if words[i].text in breaks), segment.last + 1)


def carries(words: Sequence[Word], segment: Segment, onto: Ontology) -> bool:
    """Whether a denial in the previous segment carries over to this one: in "no mass or nodule"
    it does, in "no mass, and the heart is enlarged" and "no mass but a nodule" it does not."""
    language = onto.language
    texts = [word.text for word in words[segment.first : segment.last + 1]]
    if texts[0] in ("or", "nor"):
        return not _own_verb(texts, onto)
    if _is_item(words, segment) and not {"or", "nor", "and"} & {
        w.text for w in words[segment.first :]
    }:
        return False  # "no effusion, small nodule in the right apex"
    body = texts[1:] if texts[0] in language["connectors"] else texts
    new_clause = texts[0] in ("with", "but", "however", "although", "while", "whereas", "plus")
    new_clause = new_clause or (bool(body) and body[0] in language["fresh_start"])
    return not new_clause and not _own_verb(texts, onto)


def _is_item(words: Sequence[Word], segment: Segment) -> bool:
    """Whether a segment stands behind a comma and says how large or how old its finding is."""
    described = any(m.attribute in _DESCRIBE for m in segment.mentions)
    return words[segment.first].after_comma and described


def _own_verb(texts: Sequence[str], onto: Ontology) -> bool:
    """Whether a segment is a clause of its own: it has a verb, and not the list's shared one."""
    language = onto.language
    shared = any(word in language["shared_predicate"] for word in texts)
    return not shared and any(word in language["verbs"] for word in texts)


def _listed_before(
    words: Sequence[Word], segments: Sequence[Segment], index: int, onto: Ontology
) -> set[int]:
    """The heads of earlier segments with the same predicate: "nodule and mass are not seen"."""
    denied: set[int] = set()
    while index > 0 and words[segments[index].first].text in ("or", "and", "nor"):
        index -= 1
        texts = [w.text for w in words[segments[index].first : segments[index].last + 1]]
        if any(word in onto.language["verbs"] for word in texts):
            break
        denied |= {id(m) for m in segments[index].heads}
    return denied
