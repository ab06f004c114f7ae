"""Words, sentences and the phrases of the ontology in them, each with its character range.

Ranges always refer to the text as given: case is folded word by word, since folding a whole
text can change its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medray.editing.ontology.lexicon import WORD, Ontology

_NUMBERS = ("count", "number")  # the 2 of "2 cm" counts nothing
_INSIDE_PHRASE = frozenset(" \t-‐‑'’")


@dataclass(frozen=True, slots=True)
class Word:
    """A lower-case word, its characters, and whether a comma or colon stands before it."""

    text: str
    start: int
    end: int
    after_comma: bool
    joined: bool  # nothing but blanks, hyphens or an apostrophe since the word before


@dataclass(frozen=True, slots=True)
class Mention:
    """A phrase of the ontology in a text: characters [start, end), words first..last.

    `negated`: the clause denies it. `surface` is the phrase as written.
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
    """The words of each sentence. A full stop inside a number ends nothing.

    >>> [[w.text for w in s] for s in sentences("A 5.6 cm mass. Clear?")]
    [['a', '5.6', 'cm', 'mass'], ['clear']]
    """
    found: list[list[Word]] = [[]]
    position = 0
    for match in WORD.finditer(text):
        gap = text[position : match.start()]
        if found[-1] and any(mark in gap for mark in ".!?;\n\r"):
            found.append([])
        joined = bool(found[-1]) and set(gap) <= _INSIDE_PHRASE
        comma = any(mark in gap for mark in ",:(")
        found[-1].append(Word(match.group().lower(), match.start(), match.end(), comma, joined))
        position = match.end()
    return [tuple(words) for words in found if words]


def mentions(text: str, words: Sequence[Word], onto: Ontology) -> list[Mention]:
    """All phrases in one sentence, the longest first at every word; in order of place.

    A phrase with several meanings gives several mentions of the same words.
    """
    found = list(_patterns(text, words, onto))
    measured = {i for m in found for i in range(m.first, m.last + 1)}
    index = 0
    while index < len(words):
        length = _longest(words, index, onto)
        if length:
            key = tuple(word.text for word in words[index : index + length])
            last = index + length - 1
            start, end = words[index].start, words[last].end
            found += [
                Mention(e.attribute, e.value, e.form, start, end, index, last, text[start:end])
                for e in onto.entries[key]
                if e.attribute not in _NUMBERS or index not in measured
            ]
        index += max(1, length)
    return sorted(found, key=lambda m: (m.first, m.last))


def _longest(words: Sequence[Word], index: int, onto: Ontology) -> int:
    """How many words from `index` make the longest known phrase; 0 for none."""
    limit = 1
    while limit < onto.longest and index + limit < len(words) and words[index + limit].joined:
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
            number = float(match["number"]) * (10 if unit.startswith("c") else 1)
            value = f"{number:g} mm" if unit else f"{number:g}"
            if inside:
                yield Mention(
                    attribute.name, value, "", start, end, inside[0], inside[-1], text[start:end]
                )
