"""Words of a chosen sentence that the rules do not compare: a report's reference has to have them.

The rules know findings, places and attributes; they do not know that a fracture of the femoral neck
is not intertrochanteric, nor that a lobe is the thyroid's. So whatever a sentence about a report
asserts in words that no rule reads, the reference must say, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from medray.editing.language.grammar import plain_stems
from medray.editing.language.text import Mention, Word, mentions, sentences, stem
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.claims import ParsedText
from medray.editing.reading.facts import Facts

_LETTERS = 4  # shorter words mean little, or are abbreviations that the ontology knows
_STEM = 5  # letters by which "elevated" and "elevation" are one word
_PLACES = ("organ", "vessel", "site")  # known, but compared only where the question asks for them


def says_more(known: Facts, parsed: ParsedText, start: int) -> bool:
    """Whether text[start:] asserts something in words that a report's reference does not have."""
    if not known.report:
        return False
    reference = known.reference
    stated = {key for words in sentences(reference.text) for w in words for key in _keys(w.text)}
    organs = {m.value for m in reference.study if m.attribute == "organ"}
    return any(
        not _keys(word.text) & stated and not _is_near(mention, organs)
        for word, mention in _unread(parsed, start)
    )


def _unread(parsed: ParsedText, start: int) -> Iterator[tuple[Word, Mention | None]]:
    """The words from `start` on that assert something and that no rule compares, and the place that
    each names, if it names one."""
    onto = ontology()
    denied = [(s.start, s.end) for s in (*parsed.statements, *parsed.narrow) if not s.polarity]
    for words in sentences(parsed.text[start:]):
        read = mentions(parsed.text[start:], words, onto)
        compared = {
            i for m in read if m.attribute not in _PLACES for i in range(m.first, m.last + 1)
        }
        places = {i: m for m in read if m.attribute in _PLACES for i in range(m.first, m.last + 1)}
        cues = [m.last for m in read if m.attribute == "negation"]
        for index, word in enumerate(words):
            position = word.start + start
            cue = max((c for c in cues if c < index), default=index)
            if index > cue and not any(w.after_comma for w in words[cue + 1 : index + 1]):
                continue
            if index in compared or any(first <= position < last for first, last in denied):
                continue
            short = len(word.text) < _LETTERS and not any(map(str.isdigit, word.text))
            if not short and stem(word.text) not in plain_stems():
                yield word, places.get(index)


def _is_near(place: Mention | None, organs: set[str]) -> bool:
    """Whether a place is, contains or is part of one that the reference names."""
    if place is None:
        return False
    related = ontology().attributes["organ"].related
    return place.value in ontology().language["general_organs"] or any(
        place.attribute == "organ" and related(place.value, organ) for organ in organs
    )


def _keys(word: str) -> set[str]:
    """What two spellings of one word share."""
    base = stem(word)
    return {base, base[:_STEM]} if len(base) >= _STEM else {base}
