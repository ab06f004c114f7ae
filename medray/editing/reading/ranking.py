"""Which of several is larger, and what is more or less: on one side, than before, of a heart.

Which is bigger in this image, kidney or liver?   "The kidney appears larger than the liver."
"right greater than left" · "has improved since the prior study" · "mildly enlarged"
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medray.editing.base import Change
from medray.editing.language.grammar import match_case
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import ParsedText, Statement
from medray.editing.reading.compare import Comparison, elsewhere

_MAX_WORDS = 4  # of an option
_IMAGE = re.compile(r"\b(?:in|on|of|from)\s+(?:this|the)\s+\w+(?=\s*(?:[,:?]|$)|\s+\w+\s*,)", re.I)
_SENTENCE = re.compile(r"[^.!?;\n]+")
_NOT = re.compile(r"\bnot\b|n['’]t\b", re.IGNORECASE)
_ALIKE = re.compile(r"\b(?:nor|neither|equal|equally|same|similar)\b", re.IGNORECASE)
_MORE_ON = re.compile(
    r"\b(?P<side>left|right)(?:-sided)?\s*(?:is\s+|side\s+)?(?:greater|more|larger|worse|>)\s*(?:than\s+)?"
    r"(?:the\s+)?(?:left|right)\b|"
    r"\b(?:greater|larger|worse|more\s+(?:pronounced|prominent|marked|severe|extensive))\s+on\s+the\s+"
    r"(?P<on>left|right)\b(?:\s+than\s+(?:on\s+)?(?:the\s+)?(?:left|right)\b)?",
    re.IGNORECASE,
)
_GREW = {"increased": "decreased", "worsened": "improved", "progressed": "improved"}
_FELL = {"decreased": "increased", "improved": "worsened", "diminished": "increased"}
_NOUNS = {"increase": "decrease", "worsening": "improvement", "progression": "improvement"}
_CHANGED = re.compile(
    r"\b(?:(?:has|have|had)\s+(?:now\s+)?(?:\w+ly\s+)?"
    rf"(?P<verb>{'|'.join((*_GREW, *_FELL))})"
    rf"|(?:interval|slight|mild|marked)\s+(?P<noun>{'|'.join((*_NOUNS, *_NOUNS.values()))}))\b",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:no|not|nor|without|neither|or)\b|n['’]t\b", re.IGNORECASE)
_GRADES = (("mild", "minimal", "slight"), ("moderate",), ("severe", "marked", "massive", "gross"))
_GRADE = re.compile(
    rf"\b(?P<grade>{'|'.join(grade for grades in _GRADES for grade in grades)})(?P<adverb>ly)?\b",
    re.I,
)
_TO = re.compile(r"\b(?:mild|moderate)(?:ly)?[\s-]to[\s-]", re.IGNORECASE)
_Degree = tuple[str, int, int, str]  # what a clause says, its characters, what says the opposite


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


def compare_degrees(answer: ParsedText, reference: ParsedText) -> list[Comparison]:
    """Compares what a report's statements say of one finding in words that are no attribute of it:
    on which side there is more, whether it has grown, how much the heart is enlarged."""
    kinds: tuple[tuple[str, str, Callable[[Statement], _Degree | None]], ...] = (
        ("more-on", "side", _more_on),
        ("trend", "attribute", _trend),
        ("heart-grade", "grade", _heart_grade),
    )
    found: dict[tuple[str, int], Comparison] = {}
    for name, error_type, read_degree in kinds:
        for statement in answer.statements:
            stated = read_degree(statement)
            same = [f for f in reference.statements if _is_same(statement, f)]
            known = {degree[0]: degree for f in same if (degree := read_degree(f))}
            if stated is None or len(known) != 1:
                continue
            value, start, end, opposite = stated
            (wanted,) = known
            if value == wanted:
                comparison = Comparison(True, name, error_type, span=(start, end))
            else:
                new = opposite or _graded(answer.text[start:end], wanted)
                comparison = Comparison(False, name, error_type, change=Change(start, end, new))
            found[name, start] = comparison
    return list(found.values())


def _is_same(one: Statement, other: Statement) -> bool:
    """Whether two statements are about one finding, or both about a large heart."""
    if one.head is None or other.head is None or not (one.polarity and other.polarity):
        return False
    if one.subject == "heart" or other.subject == "heart":
        return one.subject == other.subject and one.head.value == other.head.value == "enlarged"
    onto = ontology()
    generic = any(onto.findings[s.head.value].generic for s in (one, other) if s.head)
    return (
        not generic
        and onto.compatible(one.head.value, other.head.value)
        and not elsewhere(one, other)
    )


def _more_on(statement: Statement) -> _Degree | None:
    """The side on which a sentence says that there is more."""
    match = _MORE_ON.search(statement.core) if statement.subject == "lesion" else None
    if match is None:
        return None
    turned = re.sub(
        r"left|right",
        lambda m: match_case(m[0], "right" if m[0].lower() == "left" else "left"),
        match.group(),
        flags=re.IGNORECASE,
    )
    start = statement.sentence[0]
    side = (match["side"] or match["on"]).lower()
    return side, start + match.start(), start + match.end(), turned


def _trend(statement: Statement) -> _Degree | None:
    """Whether a sentence says that something has grown."""
    matches = list(_CHANGED.finditer(statement.core))
    if len(matches) != 1 or _DENIED.search(statement.core) or statement.subject != "lesion":
        return None
    group = "verb" if matches[0]["verb"] else "noun"
    word = matches[0][group].lower()
    grew = word in _GREW or word in _NOUNS
    opposites = {
        **_GREW,
        **_FELL,
        **_NOUNS,
        **{v: k for k, v in _NOUNS.items() if k != "progression"},
    }
    start = statement.sentence[0]
    first, last = matches[0].span(group)
    new = match_case(matches[0][group], opposites[word])
    return "more" if grew else "less", start + first, start + last, new


def _heart_grade(statement: Statement) -> _Degree | None:
    """How much the heart of a clause is enlarged."""
    if statement.subject != "heart" or statement.head is None or statement.head.value != "enlarged":
        return None
    first = statement.sentence[0]
    clause = statement.core[statement.start - first : statement.end - first]
    matches = list(_GRADE.finditer(clause))
    if len(matches) != 1 or _TO.search(clause):
        return None
    grade = next(grades[0] for grades in _GRADES if matches[0]["grade"].lower() in grades)
    start, end = matches[0].span()
    return grade, statement.start + start, statement.start + end, ""


def _graded(old: str, grade: str) -> str:
    """A grade in the form, and the case, of another one: "severely" for "Mildly"."""
    return match_case(old, f"{grade}ly" if old.lower().endswith("ly") else grade)


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
