"""Whether a model's replacements fit between their neighbours, and replace things by things.

The rules read findings out of word salad as well ("lower small COPD" is COPD). So each two words
that an edit puts side by side must be known to stand so: because the texts have such words side by
side, where all sides, sizes, zones … count as one word; or because one of them is a word like "is",
"of", "no" that stands beside many. And the things named stay those of the texts.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from medray.editing.ontology.lexicon import ontology
from medray.records import EditedSentence

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_BE = frozenset("is are was were".split())  # noqa: SIM905
_DETERMINERS = frozenset("the a an".split())  # noqa: SIM905
_LINKS = frozenset("in on at of to from with by for and or but without".split())  # noqa: SIM905
_FUNCTION = _BE | _DETERMINERS | _LINKS | {"no", "not", "there"}
_NOUNS = frozenset({"kind", "organ", "device"})  # attributes whose values are things


def odd_wording(
    sampled: str, edited: EditedSentence, reference: str, *sources: str, corrects: bool
) -> bool:
    """Whether a model's edit of a sentence is not known to be English about the same things.

    `sources`: other texts in which words may be found side by side. `corrects`: what it names anew
    has to be in the reference.
    """
    text = edited.text
    if re.search(r"\A\s|\s\s", text) and not re.search(r"\s\s", sampled):
        return True
    before, after = Counter(_words(sampled)), Counter(_words(text))
    if any(n > max(1, before[w]) for w, n in after.items() if w not in _FUNCTION):
        return True  # "left and left"
    new, lost = _things(after - before), _things(before - after)
    if lost and not new and not re.match(r"\W*(?:yes|no)\b", sampled, re.IGNORECASE):
        return True
    if corrects and not new <= set(_words(reference)):
        return True
    known = {pair for source in (sampled, reference, *sources) for pair in _class_pairs(source)}
    return any(
        not _may_stand(left, right) and (_class(left), _class(right)) not in known
        for left, right in _new_pairs(edited)
    )


def _new_pairs(edited: EditedSentence) -> Iterator[tuple[str, str]]:
    """Words side by side, of which an edit made at least one or brought both together."""
    words = [(m.group().lower(), *m.span()) for m in _WORD.finditer(edited.text)]
    for (left, start, before), (right, after, end) in pairwise(words):
        changed = any(
            (s.start < end and s.end > start) or (s.start == s.end and before <= s.start <= after)
            for s in edited.text_spans
        )
        if changed and not re.search(r"[.,;:!?]", edited.text[before:after]):
            yield left, right


def _words(text: str) -> list[str]:
    return [match.group().lower() for match in _WORD.finditer(text)]


def _things(words: Iterable[str]) -> set[str]:
    """Those that name a finding, an organ, a device."""
    return {word for word in words if _attributes(word) & _NOUNS}


def _may_stand(left: str, right: str) -> bool:
    """Whether English has the two side by side, whatever the second one means."""
    if left in _FUNCTION and right in _FUNCTION:
        return (
            (left in _BE and right in _DETERMINERS | {"no", "not"})
            or (left == "there" and right in _BE)
            or (left in _LINKS and right in _DETERMINERS)
            or (left in {"with", "and", "but"} and right == "no")
        )
    if right in _FUNCTION:
        return right in _BE | _LINKS and left not in _FUNCTION
    if left in _BE | {"not"}:
        return bool(_attributes(right)) and not _attributes(right) & _NOUNS
    if left == "no":
        described = _attributes(right) and not _attributes(right) & _NOUNS
        return bool(described) or right in _first_of_findings()
    return left in _DETERMINERS | _LINKS


def _class_pairs(text: str) -> Iterator[tuple[str, str]]:
    return pairwise(map(_class, _words(text)))


def _class(word: str) -> str:
    """The attribute that a word is a value of, unless it names a thing; else the word itself."""
    attributes = sorted(_attributes(word) - _NOUNS)
    return f"<{attributes[0]}>" if attributes and not _attributes(word) & _NOUNS else word


def _attributes(word: str) -> frozenset[str]:
    """The attributes that a word is a value of; if it is only a part of phrases, those of these."""
    entries = ontology().entries.get((word,), ())
    return frozenset(e.attribute for e in entries) or _in_phrases().get(word, frozenset())


@functools.cache
def _in_phrases() -> dict[str, frozenset[str]]:
    """By the first and the last word of the ontology's phrases, their attributes."""
    found: dict[str, frozenset[str]] = {}
    for phrase, entries in ontology().entries.items():
        kinds = frozenset(entry.attribute for entry in entries)
        for word in (phrase[0], phrase[-1]):
            found[word] = found.get(word, frozenset()) | kinds
    return found


@functools.cache
def _first_of_findings() -> frozenset[str]:
    """The words that the names of findings and devices begin with."""
    entries = ontology().entries.items()
    return frozenset(
        p[0] for p, es in entries if any(e.attribute in _NOUNS - {"organ"} for e in es)
    )
