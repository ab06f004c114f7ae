"""Words of a chosen sentence that the rules do not compare: a report's reference has to have them.

The rules know findings, places and attributes; they do not know that a fracture of the femoral neck
is not intertrochanteric, nor that a lobe is the thyroid's. So whatever a sentence about a report
asserts in words that no rule reads, the reference must say, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from medray.editing.guard.qualifiers import ORDINALS
from medray.editing.language.grammar import plain_stems
from medray.editing.language.text import Mention, Word, mentions, sentences, stem
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import ParsedText, Statement, read
from medray.editing.reading.compare import PLACE_OR_TIME, Comparison
from medray.editing.reading.facts import Facts

_SHOWS = re.compile(  # "the PA and lateral views show": no part of what is seen
    r"^\W*(?:the|this|these)\s+(?:(?!(?:in|of|on|at)\b)[\w/-]+\s+){0,5}?(?:views?|images?|pictures?|x-?rays?|scans?|radiographs?|films?|stud(?:y|ies))\s+"
    r"(?:\w+ly\s+)?(?:shows?|demonstrates?|reveals?|depicts?|displays?)\b",
    re.IGNORECASE,
)
LETTERS = 4  # shorter words mean little, or are abbreviations that the ontology knows
_NTH = re.compile(r"([1-9]|1[0-2])(?:st|nd|rd|th)")
_STEM = 5  # letters by which "elevated" and "elevation" are one word
_DENIED = re.compile(r"\b(?:no|not|without|or|and|nor|negative\s+for|free\s+of|absence)\b|,")
_CUE = re.compile(r"\b(?:no|not|without|negative|free|absence)\b", re.IGNORECASE)
_UNQUALIFIED = frozenset(  # what a denial may say of a finding and deny it altogether
    phrase_words(
        "a an any the evidence sign signs of for focal acute visible pulmonary lung chest pleural "
        "there is are was were been other further additional active"
    )
)
_TAKEN = ("modality", "plane", "sequence", "count")
_PLACES = ("organ", "vessel", "site")  # known, but compared only where the question asks for them


def says_more(known: Facts, parsed: ParsedText, start: int) -> bool:
    """Whether text[start:] asserts something in words that a report's reference does not have."""
    if not known.report:
        return False
    reference = known.reference
    in_question = (w.text for words in sentences(known.question) for w in words)
    stated = {key for word in (*in_question, *_asserted(reference)) for key in keys(word)}
    organs = {m.value for m in reference.study if m.attribute == "organ"}
    return any(
        not keys(word.text) & stated and not _is_near(mention, organs)
        for word, mention in _unread(parsed, start)
    )


def denies_less(based: Sequence[Comparison], text: str) -> bool:
    """Whether a text denies a finding of which the reference only denies a kind that the text does
    not name: "no overt edema", "no large effusion"."""
    stated = set(phrase_words(text))
    return any(
        not _qualifiers(c.fact) <= stated
        for c in based
        if c.attribute == "presence" and c.fact is not None and not c.fact.polarity
        if c.fact.head is not None and not ontology().findings[c.fact.head.value].generic
    )


def _qualifiers(fact: Statement) -> set[str]:
    """The words of a denial that leave the finding open where they do not apply."""
    if fact.head is None or not fact.core:
        return set()
    first = fact.sentence[0]
    before = fact.core[fact.start - first : fact.head.start - first].lower()
    described = _DENIED.split(before)[-1] if _DENIED.search(before) else ""
    for m in fact.details:
        if m.attribute in PLACE_OR_TIME:
            described = described.replace(m.surface.lower(), " ")
    return set(phrase_words(described)) - _UNQUALIFIED


def denies_asserted(
    known: Facts, parsed: ParsedText, start: int, agreed: Sequence[Comparison]
) -> bool:
    """Whether text[start:] denies, unconfirmed, what a word that the reference asserts is made of:
    no calcification, of microcalcifications; no hemorrhage, of a hemorrhagic infarct."""
    confirmed = {id(c.statement) for c in agreed}
    heads = (s.head for s in parsed.statements if not s.polarity and id(s) not in confirmed)
    stems = {stem(phrase_words(h.surface)[-1]) for h in heads if h and h.start >= start}
    return any(part in word for part in stems for word in _asserted(known.reference))


def only_beside(agreed: Sequence[Comparison]) -> bool:
    """Whether all agreements are in a place, by clauses that name no finding and say more than that
    place: "the left artery is normal", and "plaque in the left artery"."""
    return bool(agreed) and all(
        c.statement is not None
        and c.fact is not None
        and c.statement.head is None
        and bool(c.fact.core)
        and not {w[:_STEM] for w in _said(c.statement)} <= {w[:_STEM] for w in _stems(c.fact.core)}
        for c in agreed
    )


def _said(statement: Statement) -> set[str]:
    """The stems of a clause's words, but those that add nothing."""
    first = statement.sentence[0]
    clause = statement.core[statement.start - first : statement.end - first]
    stated = _stems(_SHOWS.sub("", clause))
    return {word for word in stated - plain_stems() if len(word) > 1}  # the X of an X-ray


def _asserted(parsed: ParsedText) -> set[str]:
    """The words of a text outside its denials."""
    denied = denials(parsed)
    return {
        word.text
        for words in sentences(parsed.text)
        for word in words
        if not any(first <= word.start < last for first, last in denied)
    }


def denials(parsed: ParsedText) -> list[tuple[int, int]]:
    """The characters of each denial, from its "no" on, if that stands before what it denies."""
    spans = []
    for s in (*parsed.statements, *parsed.narrow):
        if not s.polarity:
            cues = _CUE.finditer(parsed.text, s.start, s.head.start if s.head else s.end)
            spans.append((max((m.start() for m in cues), default=s.start), s.end))
    return spans


def loses_confirmed(known: Facts, sampled: str, text: str) -> bool:
    """Whether a text leaves out a word of its sampled sentence that no rule reads and a report's
    reference has: the unfolded aorta of "an enlarged heart with unfolding of the aorta"."""
    if not known.report:
        return False
    stated, left = _stems(known.reference.text), _stems(text)
    lost = {stem(word.text) for word, _ in _unread(read(sampled), 0)} - left
    return bool(lost & stated)


def _stems(text: str) -> set[str]:
    return {stem(word.text) for words in sentences(text) for word in words}


def _unread(parsed: ParsedText, start: int) -> Iterator[tuple[Word, Mention | None]]:
    """The words from `start` on that assert something and that no rule compares, and the place that
    each names, if it names one."""
    onto = ontology()
    lead = _SHOWS.match(parsed.text[start:])
    shown = start + (lead.end() if lead else 0)
    denied = [(start, shown), *denials(parsed)]
    for words in sentences(parsed.text[start:]):
        read = mentions(parsed.text[start:], words, onto)
        compared = {i for m in read if _is_compared(m) for i in range(m.first, m.last + 1)}
        places = {i: m for m in read if m.attribute in _PLACES for i in range(m.first, m.last + 1)}
        for index, word in enumerate(words):
            position = word.start + start
            if index in compared or any(first <= position < last for first, last in denied):
                continue
            short = len(word.text) < LETTERS and not any(map(str.isdigit, word.text))
            if not short and stem(word.text) not in plain_stems():
                yield word, places.get(index)


def _is_compared(mention: Mention) -> bool:
    """Whether a report is compared by what a phrase says: a finding and what is its own, not its
    place, nor a shape or a density that is somewhere in the image."""
    attribute = ontology().attributes.get(mention.attribute)
    if mention.attribute in _PLACES:
        return False
    return attribute is None or attribute.about != "study" or mention.attribute in _TAKEN


def _is_near(place: Mention | None, organs: set[str]) -> bool:
    """Whether a place is, or contains, one that the reference names, or is part of a region that it
    names: a spine of the bones, but no neck of the femur."""
    if place is None:
        return False
    if place.value in ontology().language["general_organs"]:
        return True
    if place.attribute != "organ":
        return False
    part_of = ontology().attributes["organ"].part_of
    regions = organs & set(ontology().language["slots"]["regions"])
    return any(
        place.value == organ or place.value in part_of.get(organ, ()) for organ in organs
    ) or any(organ in part_of.get(place.value, ()) for organ in regions)


def keys(word: str) -> set[str]:
    """What two spellings of one word share."""
    if number := _NTH.fullmatch(word):
        word = ORDINALS[int(number[1]) - 1]  # the 5th rib is the fifth
    base = stem(word.removesuffix("ly") if len(word) > _STEM else word)
    if base.startswith("hemi") and len(base) > _STEM + 4:
        return keys(word.removeprefix("hemi")) | {base}  # of "hemidiaphragm" and "diaphragm"
    return {base, base[:_STEM]} if len(base) >= _STEM else {base}
