"""Which of several is larger: a question that names them, and what a text answers to it.

Which is bigger in this image, kidney or liver?   "The kidney appears larger than the liver."
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medray.editing.base import Change
from medray.editing.language.grammar import match_case
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.compare import Comparison

_MAX_WORDS = 4  # of an option
_IMAGE = re.compile(r"\b(?:in|on|of|from)\s+(?:this|the)\s+\w+(?=\s*(?:[,:?]|$)|\s+\w+\s*,)", re.I)
_SENTENCE = re.compile(r"[^.!?;\n]+")
_NOT = re.compile(r"\bnot\b|n['’]t\b", re.IGNORECASE)
_ALIKE = re.compile(r"\b(?:nor|neither|equal|equally|same|similar)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a question asks to rank. `options`: what is compared, in lower case; `more`: whether it
    asks for the most or the least; `scale`: the ontology's entry with the words for it."""

    options: tuple[str, ...]
    more: bool
    scale: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ranked:
    """The option that a text puts first. [start, end) is what expresses it: the comparative, if
    replacing that by its `inverse` is enough, else the name of the option."""

    option: str
    start: int
    end: int
    inverse: str = ""


@functools.lru_cache(maxsize=4096)
def ranking(question: str) -> Ranking | None:
    """The ranking that a question asks for; None for other questions."""
    if phrase_words(question)[:1] != ("which",):
        return None
    for scale in ontology().language["ranking"]:
        match = _words(scale).search(question)
        if match is None:
            continue
        tail = _IMAGE.sub(" ", question[match.end() :])
        parts = [" ".join(phrase_words(part)) for part in re.split(r",|\bor\b|:", tail)]
        options = [part.removeprefix("the ") for part in parts if part]
        if len(options) > 1 and all(len(option.split()) <= _MAX_WORDS for option in options):
            return Ranking(tuple(options), match.group().lower() in scale["more"], scale)
    return None


def ranked(query: Ranking, text: str) -> Ranked | None:
    """What a text answers to a ranking question; None if that is not clear."""
    for sentence in _SENTENCE.finditer(text):
        word = _words(query.scale).search(text, *sentence.span())
        if word is not None:
            return (
                None if _ALIKE.search(sentence.group()) else _compared(query, text, word, sentence)
            )
    named = list(_named(query, text, 0, len(text)))
    if len({option for option, _, _ in named}) != 1 or _NOT.search(text) or _ALIKE.search(text):
        return None
    return Ranked(*named[0])


def compare_ranking(query: Ranking | None, known: str, text: str) -> list[Comparison]:
    """Compares an answer with the option known to be first, "" if none is."""
    first = ranked(query, text) if query and known else None
    if query is None or first is None:
        return []
    if first.option == known:
        return [Comparison(True, "rank", "size")]
    old = text[first.start : first.end]
    change = Change(first.start, first.end, match_case(old, first.inverse or known))
    return [Comparison(False, "rank", "size", change=change)]


def _compared(
    query: Ranking, text: str, word: re.Match[str], sentence: re.Match[str]
) -> Ranked | None:
    """The option that a sentence with a comparative puts first: the one before it, else after."""
    before = list(_named(query, text, sentence.start(), word.start()))
    after = list(_named(query, text, word.end(), sentence.end()))
    if not before and not after:
        return None
    option, start, end = before[-1] if before else after[0]
    comparative = word.group().lower()
    same_direction = (comparative in query.scale["more"]) == query.more
    negated = _NOT.search(sentence.group()) is not None
    if comparative in query.scale["most"] or len(query.options) > 2 or not before:
        return Ranked(option, start, end) if same_direction and not negated else None
    same_direction = same_direction != negated  # "not larger" puts the other option first
    winner = option if same_direction else next(other for other in query.options if other != option)
    return Ranked(winner, *word.span(), query.scale["turned"][comparative])


def _named(query: Ranking, text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """(option, start, end) of each option named in text[start:end], in text order."""
    for match in _options(query.options).finditer(text, start, end):
        name = " ".join(phrase_words(match.group()))
        option = next((o for o in query.options if name in (o, f"{o}s")), None)
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
