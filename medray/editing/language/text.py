"""Words, sentences and the ontology's phrases in them, each with its character range.

Ranges always refer to the original text: case is folded word by word, because folding a text as
a whole can change its length.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medray.editing.ontology.lexicon import WORD, Ontology, ontology
from medray.editing.ontology.measures import measure_value

_NUMBERS = ("count", "number")  # not read inside a measurement: the 2 of "2 cm"
_INSIDE_PHRASE = frozenset(" \t-‐‑'’")


@dataclass(frozen=True, slots=True)
class Word:
    """A lower-case word, its character range, and whether a comma, colon or "(" precedes it."""

    text: str
    start: int
    end: int
    after_comma: bool
    joined: bool  # only blanks, hyphens or an apostrophe since the previous word


@dataclass(frozen=True, slots=True)
class Mention:
    """A phrase of the ontology in a text: characters [start, end), words first..last.

    `negated`: its clause denies it. `surface` is the phrase as written.
    """

    attribute: str
    value: str
    form: str
    start: int
    end: int
    first: int
    last: int
    surface: str
    negated: bool = False


def sentences(text: str) -> list[tuple[Word, ...]]:
    """The words of each sentence. A full stop inside a number does not end one.

    >>> [[w.text for w in s] for s in sentences("A 5.6 cm mass. Clear?")]
    [['a', '5.6', 'cm', 'mass'], ['clear']]
    """
    result: list[list[Word]] = [[]]
    position = 0
    for match in WORD.finditer(text):
        gap = text[position : match.start()]
        if gap == " " and result[-1]:  # most are
            word = Word(match.group().lower(), match.start(), match.end(), False, True)
            result[-1].append(word)
            position = match.end()
            continue
        if result[-1] and any(mark in gap for mark in ".!?;\n\r"):
            result.append([])
        joined = bool(result[-1]) and set(gap) <= _INSIDE_PHRASE
        comma = any(mark in gap for mark in ",:(")
        result[-1].append(Word(match.group().lower(), match.start(), match.end(), comma, joined))
        position = match.end()
    return [tuple(words) for words in result if words]


def mentions(text: str, words: Sequence[Word], onto: Ontology) -> list[Mention]:
    """All phrases in one sentence, the longest match at each word; in text order.

    A phrase with several meanings yields several mentions of the same words.
    """
    result = list(_patterns(text, words, onto))
    measured = {i for m in result for i in range(m.first, m.last + 1)}
    index = 0
    while index < len(words):
        length = _longest(words, index, onto)
        if length:
            key = tuple(word.text for word in words[index : index + length])
            last = index + length - 1
            start, end = words[index].start, words[last].end
            result += [
                Mention(e.attribute, e.value, e.form, start, end, index, last, text[start:end])
                for e in onto.entries[key]
                if e.attribute not in _NUMBERS or index not in measured
            ]
        index += max(1, length)
    return sorted(result, key=lambda m: (m.first, m.last))


@functools.lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A lower-case word without the ending of its number or tense.

    >>> [stem(w) for w in ("placed", "placing", "opacities", "masses", "axis", "shows")]
    ['plac', 'plac', 'opacity', 'mass', 'axis', 'show']
    """
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed", "e"):
        if len(word) - len(ending) > 2 and word.endswith(ending):
            return word[: -len(ending)]
    return word


@functools.cache
def _reach() -> dict[str, int]:
    """The number of words in the longest phrase of the ontology that begins with each word."""
    reach: dict[str, int] = {}
    for phrase in ontology().entries:
        reach[phrase[0]] = max(len(phrase), reach.get(phrase[0], 0))
    return reach


def _longest(words: Sequence[Word], index: int, onto: Ontology) -> int:
    """The number of words in the longest known phrase at `index`; 0 if there is none."""
    longest = _reach().get(words[index].text, 0)
    limit = min(1, longest)
    while 0 < limit < longest and index + limit < len(words) and words[index + limit].joined:
        limit += 1
    for length in range(limit, 0, -1):
        if tuple(word.text for word in words[index : index + length]) in onto.entries:
            return length
    return 0


def _patterns(text: str, words: Sequence[Word], onto: Ontology) -> Iterator[Mention]:
    for attribute in onto.attributes.values():
        if attribute.pattern is None:
            continue
        for match in attribute.pattern.finditer(text, words[0].start, words[-1].end):
            start, end = match.start("number"), match.end()
            inside = [i for i, w in enumerate(words) if start < w.end and w.start < end]
            unit = (match.groupdict().get("unit") or "").lower()
            value = measure_value(match["number"], unit)
            if inside:
                yield Mention(
                    attribute.name, value, "", start, end, inside[0], inside[-1], text[start:end]
                )
