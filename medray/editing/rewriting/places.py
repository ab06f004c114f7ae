"""Puts the name of an organ, a vessel or another place where a wrong one was."""

from __future__ import annotations

import re
from dataclasses import replace

from medray.editing.base import CannotRewrite, Change, Replacement
from medray.editing.language.grammar import lower_first
from medray.editing.ontology.lexicon import ontology, phrase_words, plural
from medray.editing.reading.claims import read
from medray.editing.reading.facts import Facts

_MODIFIER = (
    "left|right|bilateral|both|upper|lower|middle|anterior|posterior|superior|inferior|"
    "proximal|distal|internal|external|medial|lateral"
)
_MODIFIERS = re.compile(rf"(?:\b(?:{_MODIFIER})\s+)+$", re.IGNORECASE)
_MODIFIED = re.compile(rf"(?:the\s+)?((?:(?:{_MODIFIER})\s+)*)(.+)", re.IGNORECASE)
_PART_OF = re.compile(
    rf"(?:\b(?:{_MODIFIER}|basal|apical|medial|central)\s+)*"
    r"\b(?:lobe|zone|segment|portion|quadrant|apex|base|pole|aspect|horn|tip|side|half|part|edge|margin|wall)s?\s+of\s+"
    r"(?P<article>the\s+)?$",
    re.IGNORECASE,
)
_ONE_OF_PAIR = re.compile(  # "only in the left lung", which becomes "in both lungs"
    r"(?:only\s+)?\b(in|on|of|to|within|at|from|involving)\s+(?:only\s+)?the\s+(?:left|right)(?:-sided)?\s+"
    r"(lung|hemithorax|kidney|eye|breast|hemisphere|ventricle|side|hip|knee|hand)\b",
    re.IGNORECASE,
)
_SIDED = re.compile(r"\b(?:left|right|bilateral|both)\s+$", re.IGNORECASE)
_UNPAIRED = re.compile(
    r"(?:heart|liver|spleen|pancreas|brain|stomach|bladder|trachea|esophagus|colon|bowel|head|neck|chest|"
    r"abdomen|pelvis|gallbladder|rectum|small bowel)",
    re.IGNORECASE,
)
_PLACE_NOUNS = frozenset(
    phrase_words(
        "lobe region area fossa hemisphere cortex horn side lung zone space sinus apex base"
    )
)
_PLACE_WORDS = 5
_NO_ONE_PLACE = re.compile(
    r"[,;:/()\d]|\b(?:and|or|bilateral\w*|both|is|are|not|no|in|on|near)\b|^\W*(?:under\w*|below|above|behind|beside|between|along|around|of)\b",
    re.IGNORECASE,
)
_ASKS_PLACE = re.compile(
    r"\W*(?:where\b|(?:in|on|at)\s+(?:which|what)\b|what\s+is\s+the\s+location\b)", re.IGNORECASE
)
_AND_THE = re.compile(r"\band\s+(?:the\s+)?(?:[\w-]+\s+){0,6}$", re.IGNORECASE)
_AND_MORE = re.compile(r",|\band\b", re.IGNORECASE)
_LOCATED = re.compile(
    r"(?:the|it|this|these|they|there)\b[^,;.]*?\b(?:is|are)\s+(?:primarily\s+|mainly\s+)?"
    r"(?:located|seen|found|situated|present|visible|identified)?\s*"
    r"(?:in|within)\s+(?P<place>(?:the|an?)\s[^,;.]+?)(?=,\s+which\b|\.?\s*$).*",
    re.IGNORECASE | re.DOTALL,
)
_EXTENT = r"(?:primarily|mainly|mostly|predominantly|chiefly|largely|only|solely|exclusively)"
_SHOWS = r"(?:show|depict|display|focus|visuali[sz]|captur|featur|reveal|illustrat|demonstrat)\w*"
_MAINLY_SHOWS = re.compile(
    rf"\b(?:{_EXTENT}\s+{_SHOWS}|{_SHOWS}\s+(?:on\s+)?{_EXTENT})\b[^.;]*$", re.IGNORECASE
)
_INSIDE = re.compile(r"\s+of\s+the\s+(\w+)$", re.IGNORECASE)
_SMALL = frozenset(("of", "the", "a", "an"))
_ADJECTIVE = re.compile(r"\w+(?:al|ic|ar|ary|ory|ous|ive)$", re.IGNORECASE)
_NOUN_FOLLOWS = re.compile(r"\s+(?!(?:in|on|of|at|and|or|is|are|with|to|for|as)\b)[a-z]", re.I)
_ASKED_NOUN = re.compile(
    r"\b(?:which|what)\s+(?:\w+\s+){0,2}?(\w+)\s+(?:is|are|was|were|does|do|has|can|in)\b", re.I
)


def place_phrase(answer: str, item: Replacement, facts: Facts) -> Replacement:
    """The replacement of a place, with what describes the wrong one only dropped, what the
    reference says of the right one added, and a noun where the reference has an adjective.

    "left [middle cerebral artery]" → "basilar artery"; "[appendix]" → "left kidney".
    """
    start, text = item.start, item.text
    if facts.reference.text and _MAINLY_SHOWS.search(answer[:start]):
        raise CannotRewrite  # "primarily shows the heart": it has it, but perhaps not mainly
    named = re.search(rf"\b{re.escape(text)}\b", facts.reference.text, re.IGNORECASE)
    inner = _PART_OF.search(facts.reference.text[: named.start()]) if named else None
    if inner and not set(phrase_words(inner.group())) <= set(phrase_words(answer)):
        raise CannotRewrite  # the trachea is more than "the right side of the trachea"
    clauses = re.split(r",?\s+(?:which|including|such|whose)\b", answer[:start])
    if (
        len(clauses) == 1
        and _AND_THE.search(clauses[0])
        and not _AND_MORE.search(facts.reference.text)
    ):
        raise CannotRewrite  # the other one of "the right lobe and the left lobe" would stay
    described = _NOUN_FOLLOWS.match(answer, item.end) is not None
    old = answer[start : item.end]
    if described and _ADJECTIVE.fullmatch(old) and not _ADJECTIVE.fullmatch(text):
        raise CannotRewrite  # "gastrointestinal structures", "intracranial pressure"
    if _UNPAIRED.fullmatch(text) and _SIDED.search(answer[:start]) and not facts.reference.text:
        raise CannotRewrite  # "the left brain"
    if not facts.reference.text:
        return item  # a variant stays beside what describes the right place
    part = _PART_OF.search(answer[:start])
    if part and not set(phrase_words(part.group())) - _SMALL <= set(phrase_words(facts.question)):
        start = part.start()  # "right upper lobe of the lung": of a part of the wrong place
        if part["article"] and not part.group().lower().startswith("the "):
            text = f"the {text}"
    before = _MODIFIERS.search(answer[:start])
    if before and not set(phrase_words(before.group())) <= set(phrase_words(facts.question)):
        start = before.start()
    named = _MODIFIED.fullmatch(facts.reference.text.strip(" ."))
    modified = named is not None and phrase_words(named[2]) == phrase_words(text)
    if named is not None and modified and named[1] and (start < item.start or before is None):
        text = lower_first(named[1]) + text
    if _ADJECTIVE.fullmatch(text) and not described:
        noun = _ASKED_NOUN.search(facts.question)
        if noun is not None and noun[1].lower() not in ("organ", "organs", "this", "part", "the"):
            text = f"{text} {noun[1].lower()}"
    if text.startswith("the ") and answer[:start].lower().endswith("the "):
        text = text.removeprefix("the ")
    return replace(item, start=start, text=text)


def named_place(question: str, sentence: str, reference: str) -> Change | None:
    """The change that puts the place an open question asks for into its answer; None if either is
    not just a place.

    >>> named_place("Where is it?", "It is located in the left lung.", "Pituitary fossa")
    Change(start=17, end=30, text='the pituitary fossa')
    """
    stated = _LOCATED.fullmatch(sentence)
    if stated is None or not _ASKS_PLACE.match(question) or not _is_place(reference):
        return None
    place = lower_first(_lower_sides(reference.strip(" .")))
    if not re.match(r"the\s", place, re.IGNORECASE):
        place = f"the {place}"
    start, end = stated.span("place")
    inside = _INSIDE.search(stated["place"])
    if inside and _contains(inside[1], reference):
        end = start + inside.start()
    return Change(start, end, place)


def _is_place(reference: str) -> bool:
    """Whether a reference is one place and nothing more: "Right frontal lobe"."""
    words = phrase_words(reference)
    if not 0 < len(words) <= _PLACE_WORDS or _NO_ONE_PLACE.search(reference):
        return False
    organs = [e for n in (1, 2) for e in ontology().entries.get(words[-n:], ())]
    return words[-1] in _PLACE_NOUNS or any(e.attribute == "organ" for e in organs)


def _contains(outer: str, reference: str) -> bool:
    """Whether a place is known to be in `outer`: the frontal lobe, in the brain."""
    onto = ontology()
    outside = {e.value for e in onto.entries.get(phrase_words(outer), ()) if e.attribute == "organ"}
    inside = [m.value for m in read(reference).study if m.attribute == "organ"]
    part_of = onto.attributes["organ"].part_of
    return any(outside & set(part_of.get(value, ())) for value in inside)


def _lower_sides(text: str) -> str:
    return re.sub(
        rf"\b(?:{_MODIFIER}|{'|'.join(_PLACE_NOUNS)})\b", lambda m: m[0].lower(), text, flags=re.I
    )


def both_of(text: str, start: int) -> Change | None:
    """The change of the one of a pair whose side begins at `start` into both: "in both lungs"; None
    if it stands in no such phrase."""
    found = (m for m in _ONE_OF_PAIR.finditer(text) if m.start() < start < m.end())
    pair = next(found, None)
    return Change(*pair.span(), f"{pair[1]} both {plural(pair[2])}") if pair else None
