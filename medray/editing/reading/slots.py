"""The weaker rule "same slot, other value", for open questions that nothing else decides.

The question asks for one thing: an organ, a plane, a colour, an abnormality. Reference and answer
both fill that slot with a short phrase. Different values that share no word, are no synonyms,
neither contain the other and are not hedged make the answer wrong; the same value makes it right.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from medray.editing.base import Change
from medray.editing.language.grammar import lower_first, match_case
from medray.editing.language.text import Mention, Word, mentions, sentences, stem
from medray.editing.ontology.lexicon import Ontology, ontology, phrase_words
from medray.editing.reading.claims import ParsedText
from medray.editing.reading.compare import Comparison

SAME_SLOT = "same slot, other value"
_MAX_REFERENCE, _MAX_ANSWER = 8, 10  # words of a value
_MAX_EXTRA = 2  # words beside a known value
_NOT = re.compile(
    r"\b(?:no|not|nor|neither|never|none|nothing|without|normal|healthy|unremarkable|absent|"
    r"cannot|unable|unknown|n/?a)\b|n['’]t\b",
    re.IGNORECASE,
)
_END = re.compile(
    r"[,;(]|\b(?:than|compared|relative|versus|which|who|where|because|suggesting|indicating|due|specifically|consistent|"
    r"that|as|and\s+(?:is|are|it|the|has)|while|but|with)\b",
    re.IGNORECASE,
)
_ACRONYM = re.compile(r"\b[A-Z]{2,5}\b")
_ERROR_TYPES = {
    "kind": "kind",
    "device": "kind",
    "organ": "organ",
    "vessel": "organ",
    "modality": "modality",
    "sequence": "modality",
    "plane": "plane",
}


@dataclass(frozen=True, slots=True)
class Value:
    """What a text puts into the slot: `words` (stems that the ontology does not know), its
    `concepts` by family, and the characters [start, end) if they are one phrase."""

    words: frozenset[str]
    concepts: dict[str, frozenset[str]]
    stems: frozenset[str]
    start: int
    end: int


def compare_slot(question: str, reference: ParsedText, answer: ParsedText) -> list[Comparison]:
    """The comparison of both values; [] if the question has no slot or nothing is sure."""
    slot = slot_of(question)
    if slot is None or reference.word is not None or _NOT.search(reference.text):
        return []
    known = _value(question, reference, _MAX_REFERENCE)
    if known is None or not (known.words or known.concepts):
        return []
    if _NOT.search(answer.text) or answer.hedged or answer.word is not None:
        return []
    stated = _value(question, answer, _MAX_ANSWER)
    if stated is None or not (stated.words or stated.concepts):
        return []
    if _contains(stated, known) and not _opposed(reference.text, answer.text):
        return [Comparison(True, SAME_SLOT, _error_type(slot, known))]
    unclear = _acronyms(reference.text, known) or _acronyms(answer.text, stated)
    if not unclear and _differ(slot, known, stated):
        return [_wrong(slot, reference, known, answer, stated.start, stated.end)]
    return []


def _acronyms(text: str, value: Value) -> bool:
    """Whether a value has an acronym that the ontology does not know."""
    return any(stem(word.lower()) in value.words for word in _ACRONYM.findall(text))


def _wrong(
    slot: str, reference: ParsedText, known: Value, answer: ParsedText, start: int, end: int
) -> Comparison:
    new = re.sub(r"^(?:in|on|at)?\s*(?:the|an?)\s+", "", _phrase(reference), flags=re.IGNORECASE)
    change = None
    if start < end:
        new = match_case(answer.text[start:end], lower_first(new))
        change = Change(start, end, new)
    kind = _error_type(slot, known)
    return Comparison(False, SAME_SLOT, kind, change=change, span=answer.body)


def _phrase(reference: ParsedText) -> str:
    return reference.text[slice(*reference.body)].strip()


def _error_type(slot: str, known: Value) -> str:
    family = slot if slot in _ERROR_TYPES else next(iter(known.concepts), "")
    return _ERROR_TYPES.get(family, "attribute")


@functools.lru_cache(maxsize=4096)
def slot_of(question: str) -> str | None:
    """What an open question asks for: a family of concepts, or "" for any; None if it asks for
    a reason, an effect, a description, or a yes or no."""
    parts = sentences(question)
    if not parts:
        return None
    words = [word.text for word in parts[-1]]
    slots = ontology().language["slots"]
    if not set(words) & set(slots["asks"]) or set(words) & set(slots["never"]):
        return None
    if words[0] in ontology().language["questions"]["closed"] or words[-1] == "do":
        return None
    if _NOT.search(question) and "normal" not in words:
        return None
    for family, names in slots["families"].items():
        if any(f" {name} " in f" {' '.join(words)} " for name in names):
            return str(family)
    return ""


def _value(question: str, parsed: ParsedText, longest: int) -> Value | None:
    """The value that a text gives; None if it gives none or too many words."""
    onto = ontology()
    asked_for = _question_stems(question)
    start, end = parsed.body
    for words in sentences(parsed.text[:end]):
        if words[-1].end <= start:
            continue
        value = _sentence_value(parsed.text, words, asked_for, longest, onto)
        if value is not None:
            return value
        break
    return None


def _sentence_value(
    text: str, words: Sequence[Word], asked_for: frozenset[str], longest: int, onto: Ontology
) -> Value | None:
    own = [i for i, w in enumerate(words) if _is_own(w, asked_for)]
    if not own:
        if len(words) > longest:
            return None
        own = [i for i, w in enumerate(words) if stem(w.text) not in _plain()]
    if not own:
        return None
    stop = _END.search(text, words[own[0]].end, words[-1].end)
    own = [i for i in own if stop is None or words[i].start < stop.start()]
    if len(own) > longest:
        return None
    named = mentions(text, words, onto)
    before = stop.start() if stop else words[-1].end
    if any(m.attribute == "comparison" for m in named) or any(
        m.attribute == "landmark" and m.start < before for m in named
    ):
        return None
    found = [m for m in named if any(m.first <= i <= m.last for i in own)]
    found = [m for m in found if stop is None or m.start < stop.start()]
    concepts: dict[str, set[str]] = {}
    covered: set[int] = set()
    for m in found:
        if (family := _family(m, onto)) is None:
            continue
        concepts.setdefault(family, set()).add(m.value)
        covered |= set(range(m.first, m.last + 1))
    start, end = _phrase_range(text, words, own, covered)
    return Value(
        frozenset(stem(words[i].text) for i in own if i not in covered),
        {family: frozenset(values) for family, values in concepts.items()},
        frozenset(stem(words[i].text) for i in own),
        start,
        end,
    )


def _is_own(word: Word, asked_for: frozenset[str]) -> bool:
    stemmed = stem(word.text)
    return stemmed not in asked_for and stemmed not in _plain()


def _phrase_range(
    text: str, words: Sequence[Word], own: Sequence[int], covered: set[int]
) -> tuple[int, int]:
    """The characters of the value with a bracket behind it; (0, 0) if it is not one phrase."""
    first, last = min([own[0], *covered]), max([own[-1], *covered])
    inside = set(own) | covered
    joining = {"of", "the", "in", "and", "a", "to"}
    if any(i not in inside and words[i].text not in joining for i in range(first, last + 1)):
        return 0, 0
    end = words[last].end
    bracket = re.compile(r"\s*\(\w+\)").match(text, end)
    return words[first].start, bracket.end() if bracket else end


def _family(mention: Mention, onto: Ontology) -> str | None:
    """The family of a concept; None for words that are no values of a slot."""
    if mention.attribute == "kind":
        finding = onto.findings[mention.value]
        return None if finding.generic else "device" if finding.device else "kind"
    if mention.attribute == "heart-finding":
        return "kind"
    return mention.attribute if mention.attribute in onto.language["slots"]["values"] else None


def _contains(stated: Value, known: Value) -> bool:
    """Whether the stated value says all of the known one and nothing against it."""
    if known.stems <= stated.stems and not _conflict(known, stated):
        return True
    if known.words or not known.concepts or known.concepts.keys() != stated.concepts.keys():
        return False
    return known.concepts == stated.concepts and len(stated.words) <= _MAX_EXTRA


def _opposed(one: str, other: str) -> bool:
    """Whether one text has a word of which the other has the opposite: "more", "less"."""
    first, second = set(phrase_words(one)), set(phrase_words(other))
    pairs = [pair for a, b in ontology().language["opposites"] for pair in ((a, b), (b, a))]
    return any(a in first and b in second for a, b in pairs)


def _conflict(known: Value, stated: Value) -> bool:
    return any(
        not _related(family, values, stated.concepts[family])
        for family, values in known.concepts.items()
        if family in stated.concepts
    )


def _related(family: str, known: frozenset[str], stated: frozenset[str]) -> bool:
    onto = ontology()
    if family in ("kind", "device"):
        finding = onto.findings
        pairs = [(a, b) for a in known for b in stated]
        return any(
            "enlarged" in (a, b)
            or a not in finding
            or b not in finding
            or onto.compatible(a, b)
            or finding[a].broad
            or finding[b].broad
            for a, b in pairs
            if a != b
        ) or bool(known & stated)
    related = onto.attributes[family].related
    return any(related(a, b) for a in known for b in stated)


def _differ(slot: str, known: Value, stated: Value) -> bool:
    """Whether two values of one slot exclude each other."""
    shared = (known.words & stated.words) - _general()
    if (known.words | stated.words) & _lay():
        return False  # "a blocked artery" may be any of several diagnoses
    if shared or _look_alike(known, stated):
        return False
    common = known.concepts.keys() & stated.concepts.keys()
    if common:
        return all(not _related(f, known.concepts[f], stated.concepts[f]) for f in common)
    return _apart(slot, known, stated)


def _apart(slot: str, known: Value, stated: Value) -> bool:
    """Whether values without a common family exclude each other: the plane of a "brain"."""
    closed = ontology().language["slots"]["closed"]
    families, others = set(known.concepts), set(stated.concepts)
    if slot in closed and slot in families:
        return not others & set(closed[slot])
    if not known.words.isdisjoint(stated.words):
        return False
    if families and others:
        pairs = {frozenset((a, b)) for a in families for b in others}
        together = {frozenset(pair) for pair in ontology().language["slots"]["together"]}
        return not pairs & together
    if slot in ("kind", "organ", "vessel", "device", "") and not families and others:
        return bool(known.words) and _is_specific(stated)
    return False


def _is_specific(value: Value) -> bool:
    """Whether a value is a narrow one, that few other words can mean."""
    onto = ontology()
    kinds = value.concepts.get("kind", frozenset())
    regions = set(onto.language["slots"]["regions"])
    narrow_kind = bool(kinds) and all(
        k in onto.findings
        and not onto.findings[k].broad
        and k not in onto.language["slots"]["wide"]
        for k in kinds
    )
    organs = value.concepts.get("organ", frozenset())
    return narrow_kind or bool(organs and not organs & regions)


def _look_alike(known: Value, stated: Value) -> bool:
    """Whether words of both may be one: an abbreviation, another spelling."""
    for a in known.words:
        for b in stated.words:
            if a[:5] == b[:5] and min(len(a), len(b)) >= 5:
                return True
            if SequenceMatcher(None, a, b).ratio() > 0.75:
                return True
    return _abbreviates(known.stems, stated.stems) or _abbreviates(stated.stems, known.stems)


def _abbreviates(short: frozenset[str], long: frozenset[str]) -> bool:
    initials = sorted(word[0] for word in long)
    return any(
        1 < len(word) <= 5
        and len(word) <= len(long) + 2
        and set(initials) <= set(word)
        and len(long) > 1
        for word in short
    )


@functools.lru_cache(maxsize=4096)
def _question_stems(question: str) -> frozenset[str]:
    return frozenset(stem(w.text) for words in sentences(question) for w in words)


@functools.cache
def _plain() -> frozenset[str]:
    language = ontology().language
    words = (
        *language["question_words"],
        *language["fillers"],
        *language["study_words"],
        *language["slots"]["plain"],
    )
    return frozenset(stem(word) for word in words) - {stem(w) for w in ("mri", "ct", "xray", "ray")}


@functools.cache
def _lay() -> frozenset[str]:
    return frozenset(stem(word) for word in ontology().language["slots"]["lay"])


@functools.cache
def _general() -> frozenset[str]:
    return frozenset(stem(word) for word in ontology().language["slots"]["general"])
