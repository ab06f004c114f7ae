"""Which phrases of a sentence are claims about this image.

What follows "than" belongs to the other side of a comparison, and what follows "is a type of" is
knowledge of the world. A bracket behind a finding abbreviates its name. A study that "appears
normal" denies every abnormality.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace

from medray.editing.language.text import Mention, Word
from medray.editing.ontology.lexicon import Ontology, ontology

_FINDING_NAMES = ("kind", "site")


def asserted(
    text: str, words: Sequence[Word], mentions: Sequence[Mention], onto: Ontology
) -> list[Mention]:
    """The mentions of one sentence without those that only compare, define or abbreviate."""
    kept = list(mentions)
    for cue in mentions:
        if cue.attribute == "comparison" and not _compares_with_time(words, cue, onto):
            end = _clause_end(words, cue.last)
            reversed_ = any(w.text in onto.language["reversing"] for w in words[: cue.first])
            kept = [
                m
                for m in kept
                if not (cue.last < m.first < end) and not (reversed_ and m.attribute == "side")
            ]
        elif cue.attribute == "definition":
            kept = [m for m in kept if m.first <= cue.last]
    kept = _with_abbreviations(text, words, kept)
    normal = _normal_study(text, words) or _abnormal_study(text, words)
    return sorted([*kept, normal], key=lambda m: (m.first, m.last)) if normal else kept


def _compares_with_time(words: Sequence[Word], cue: Mention, onto: Ontology) -> bool:
    """Whether a comparison is with an earlier image or with a number: nothing else is named."""
    following = [word.text for word in words[cue.last + 1 : cue.last + 4]]
    earlier = any(word in onto.language["earlier"] for word in following)
    number = following[:1] and (following[0][0].isdigit() or following[0] in ("one", "two", "half"))
    return earlier or bool(number)


def _clause_end(words: Sequence[Word], last: int) -> int:
    """The word at which the clause of word `last` ends: at the next comma."""
    following = range(last + 1, len(words))
    return next((i for i in following if words[i].after_comma), len(words))


def _with_abbreviations(
    text: str, words: Sequence[Word], mentions: Sequence[Mention]
) -> list[Mention]:
    """ "multiple sclerosis (MS)" is one name: the finding's range includes the bracket."""
    if "(" not in text:
        return list(mentions)
    result: list[Mention] = []
    swallowed: set[int] = set()
    for m in mentions:
        if m.first in swallowed:
            continue
        following = m.last + 1
        if m.attribute == "kind" and following < len(words):
            word = words[following]
            bracket = text[m.end : word.start].strip() == "(" and text[word.end : word.end + 1]
            initials = text[word.start : word.end]
            if bracket == ")" and initials.isupper():
                swallowed.add(following)
                m = replace(m, end=word.end + 1, last=following)
        result.append(m)
    return result


def _normal_study(text: str, words: Sequence[Word]) -> Mention | None:
    """The "normal" of "the scan appears normal", as a denial of every abnormality."""
    match = _study_is_normal().search(text, words[0].start, words[-1].end)
    if match is None:
        return None
    start, end = match.span("normal")
    index = next((i for i, w in enumerate(words) if w.start == start), None)
    if index is None:
        return None
    return Mention("clear", "abnormality", "", start, end, index, index, text[start:end])


def _abnormal_study(text: str, words: Sequence[Word]) -> Mention | None:
    """The "abnormal" of "the scan appears abnormal", as the assertion of an abnormality."""
    match = _study_is_abnormal().search(text, words[0].start, words[-1].end)
    if match is None:
        return None
    start, end = match.span("abnormal")
    index = next((i for i, w in enumerate(words) if w.start == start), None)
    if index is None:
        return None
    return Mention("clear", "abnormality", "not", start, end, index, index, text[start:end])


@functools.cache
def _study_is_abnormal() -> re.Pattern[str]:
    studies = "|".join(ontology().language["study_words"])
    return re.compile(
        rf"\b(?:{studies})s?\s+(?:(?:is|are|was|looks?|appears?|seems?)\s+)(?:to\s+be\s+)?"
        r"(?:\w+ly\s+)?(?P<abnormal>abnormal)\b(?=\s*(?:[.;!?]|$))",
        re.IGNORECASE,
    )


@functools.cache
def _study_is_normal() -> re.Pattern[str]:
    studies = "|".join(ontology().language["study_words"])
    return re.compile(
        rf"\b(?:{studies})s?\s+(?:(?:is|are|was|looks?|appears?|seems?)\s+)(?:to\s+be\s+)?"
        r"(?:not\s+)?(?:\w+ly\s+|quite\s+|very\s+|within\s+)*"
        r"(?P<normal>normal|unremarkable|healthy)\b(?!\s+(?:in|for|size|heart|\w+\s+(?:lung|heart)))"
        r"(?=\s*(?:[,.;!?]|$|with|and|without|limits))",
        re.IGNORECASE,
    )
