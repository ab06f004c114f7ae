"""Which of several is the larger: a question that names them, and what a text says to it.

Which is bigger in this image, kidney or liver?   "The kidney appears larger than the liver."
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medray.editing.language.grammar import match_case
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.compare import Outcome

_LONGEST = 4  # words of an option
_IMAGE = re.compile(r"\b(?:in|on|of|from)\s+(?:this|the)\s+\w+(?=\s*(?:[,:?]|$)|\s+\w+\s*,)", re.I)
_SENTENCE = re.compile(r"[^.!?;\n]+")
_NOT = re.compile(r"\bnot\b|n['’]t\b", re.IGNORECASE)
_ALIKE = re.compile(r"\b(?:nor|neither|equal|equally|same|similar)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ranking:
    """`options`: what is compared, in lower case; `more`: whether the most is asked for, or the
    least; `scale`: the entry of the ontology that has the words for it."""

    options: tuple[str, ...]
    more: bool
    scale: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a text puts first. [start, end) is where it says so: the word of the comparison, where
    turning that is enough (`turned`: into what), else the name of the option."""

    option: str
    start: int
    end: int
    turned: str = ""


def ranking(question: str) -> Ranking | None:
    """What a question asks to be ranked; None for other questions."""
    if phrase_words(question)[:1] != ("which",):
        return None
    for scale in ontology().language["ranking"]:
        found = _words(scale).search(question)
        if found is None:
            continue
        tail = _IMAGE.sub(" ", question[found.end() :])
        parts = [" ".join(phrase_words(part)) for part in re.split(r",|\bor\b|:", tail)]
        options = [part.removeprefix("the ") for part in parts if part]
        if len(options) > 1 and all(len(option.split()) <= _LONGEST for option in options):
            return Ranking(tuple(options), found.group().lower() in scale["more"], scale)
    return None


def ranked(asked: Ranking, text: str) -> Ranked | None:
    """What a text answers to a ranking; None where it is not clear."""
    for sentence in _SENTENCE.finditer(text):
        word = _words(asked.scale).search(text, *sentence.span())
        if word is not None:
            return (
                None if _ALIKE.search(sentence.group()) else _compared(asked, text, word, sentence)
            )
    named = list(_named(asked, text, 0, len(text)))
    if len({option for option, _, _ in named}) != 1 or _NOT.search(text) or _ALIKE.search(text):
        return None
    return Ranked(*named[0])


def compare_ranking(asked: Ranking | None, known: str, text: str) -> list[Outcome]:
    """An answer against the option that is known to be first, "" where none is."""
    said = ranked(asked, text) if asked and known else None
    if asked is None or said is None:
        return []
    if said.option == known:
        return [Outcome(True, "rank", "size")]
    old = text[said.start : said.end]
    return [
        Outcome(
            False,
            "rank",
            "size",
            change=(said.start, said.end, match_case(old, said.turned or known)),
        )
    ]


def _compared(
    asked: Ranking, text: str, word: re.Match[str], sentence: re.Match[str]
) -> Ranked | None:
    """Of a sentence with a word of comparison: the option before it, or else after it."""
    before = list(_named(asked, text, sentence.start(), word.start()))
    after = list(_named(asked, text, word.end(), sentence.end()))
    if not before and not after:
        return None
    option, start, end = before[-1] if before else after[0]
    said = word.group().lower()
    same = (said in asked.scale["more"]) == asked.more
    denied = _NOT.search(sentence.group()) is not None
    if said in asked.scale["most"] or len(asked.options) > 2 or not before:
        return Ranked(option, start, end) if same and not denied else None
    same = same != denied  # "not larger" is said of what comes after
    first = option if same else next(other for other in asked.options if other != option)
    return Ranked(first, *word.span(), asked.scale["turned"][said])


def _named(asked: Ranking, text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """(option, start, end) of each option that a part of a text names, in order of place."""
    for match in _options(asked.options).finditer(text, start, end):
        name = " ".join(phrase_words(match.group()))
        option = next((o for o in asked.options if name in (o, f"{o}s")), None)
        if option is not None:
            yield option, *match.span()


@functools.lru_cache(maxsize=256)
def _options(options: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(options, key=len, reverse=True)
    names = "|".join(r"[\s-]+".join(map(re.escape, name.split())) for name in longest)
    return re.compile(rf"\b(?:{names})s?\b", re.IGNORECASE)


def _words(scale: Mapping[str, Any]) -> re.Pattern[str]:
    return _pattern((*scale["more"], *scale["less"]))


@functools.cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
