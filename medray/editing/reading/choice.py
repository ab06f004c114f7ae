"""The alternatives that a question names: "hypo- or hyperinflation?", "T1, T2 or FLAIR?".

Answer and reference each pick one, also where the ontology does not know the words.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from medray.editing.base import Change
from medray.editing.language.grammar import lower_first, match_case
from medray.editing.ontology.lexicon import WORD, ontology
from medray.editing.reading.compare import Comparison

_OR = re.compile(r"(?<![\w-])or(?![\w-])", re.IGNORECASE)
_PREFIX = re.compile(
    r"^(hyper|hypo|iso|intra|extra|infra|supra|pre|post|endo|epi|sub|inter|uni|bi|micro|macro|"
    r"poly|mono|non|ab)(?=\w{4})",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"\b(?:no|not|nor|neither|without|never|rather\s+than|instead\s+of)\b|n['’]t\b", re.IGNORECASE
)
_ABNORMAL = re.compile(r"\babnormal", re.IGNORECASE)
_NORMAL = re.compile(r"\b(?:normal|healthy|unremarkable|no|not|without)\b", re.IGNORECASE)
_MAX_WORDS = 3


@dataclass(frozen=True, slots=True)
class Pick:
    """The alternative that a text picks, by its number, and the characters that name it."""

    index: int
    start: int
    end: int


@functools.lru_cache(maxsize=4096)
def alternatives(question: str) -> tuple[str, ...]:
    """What tells the alternatives of a question apart, in lower case; () if it names none.

    >>> alternatives("Is there hypo- or hyperinflation of the lungs?")
    ('hypoinflation', 'hyperinflation')
    >>> alternatives("Is this a T1 weighted, T2 weighted, or FLAIR image?")
    ('t1', 't2', 'flair')
    """
    splits = list(_OR.finditer(question))
    if not splits:
        return ()
    last = _leading(question[splits[-1].end() :])
    before = _OR.sub(",", question[: splits[-1].start()])
    pieces = [piece for piece in before.split(",") if piece.strip()]
    if not last or not pieces:
        return ()
    if pieces[-1].rstrip().endswith("-") and (prefix := _PREFIX.match(last[0])):
        word = WORD.findall(pieces[-1])[-1]
        found = [[(word + last[0][prefix.end() :]).lower()], [last[0]]]
    else:
        found = [_trailing(pieces[0], len(last))] if len(pieces) == 1 else []
        if len(pieces) > 1:
            middle = [_trailing(piece, _MAX_WORDS) for piece in pieces[1:]]
            width = max(len(last), *(len(m) for m in middle))
            first = _trailing(pieces[0], width)
            named = first and not _asks(pieces[0], first)
            found = [*([first] if named else []), *middle]
        found.append(last)
    return _told_apart(found)


def picked(question: str, text: str) -> Pick | None:
    """The one alternative of the question that a text states; None if none or several."""
    listed = alternatives(question)
    asks = "normal" not in listed and _ABNORMAL.search(question)
    if not listed or (asks and _NORMAL.search(text)):
        return None  # "the heart is normal" does not pick the heart as the abnormal one
    found: dict[int, Pick] = {}
    for index, alternative in enumerate(listed):
        for match in _named(alternative).finditer(text):
            clause = re.split(r"[,.;]|\bbut\b", text[: match.start()])[-1]
            if not _NOT.search(clause):
                found.setdefault(index, Pick(index, *match.span()))
    return next(iter(found.values())) if len(found) == 1 else None


def compare_choice(question: str, reference: str, text: str) -> list[Comparison]:
    """Compares the alternatives that an answer and its reference pick."""
    known, stated = picked(question, reference), picked(question, text)
    if known is None or stated is None:
        return []
    if known.index == stated.index:
        return [Comparison(True, "alternative", "attribute")]
    named = lower_first(reference[known.start : known.end])
    new = match_case(text[stated.start : stated.end], named)
    change = Change(stated.start, stated.end, new)
    return [Comparison(False, "alternative", "attribute", change=change)]


def _leading(text: str) -> list[str]:
    """The words of the alternative that a text begins with."""
    stops, found = set(ontology().language["alternative_stops"]), list[str]()
    for match in WORD.finditer(text):
        word = match.group().lower()
        if found and (word in stops or re.search(r"[,.;?]", text[: match.start()])):
            break
        if word in stops:
            continue
        found.append(word)
    return found if len(found) <= _MAX_WORDS else found[:1]


def _trailing(text: str, width: int) -> list[str]:
    """The last words of a text, at most `width`, back to the first that cannot belong."""
    stops, found = set(ontology().language["alternative_stops"]), list[str]()
    for word in reversed(WORD.findall(text.lower())):
        if not found and word in ontology().language["study_words"] + ["weighted"]:
            continue
        if word in stops or len(found) == width:
            break
        found.insert(0, word)
    return found


def _asks(piece: str, first: list[str]) -> bool:
    """Whether the part before the first comma only asks ("Which organ is abnormal, …")."""
    words = WORD.findall(piece.lower())
    asks = {*ontology().language["questions"]["what"], "where"}
    return bool(words) and words[0] in asks


def _told_apart(found: list[list[str]]) -> tuple[str, ...]:
    """The alternatives without the words that they share: "T1 weighted" is "t1"."""
    if (
        len(found) < 2
        or not all(found)
        or any(word in ("yes", "no", "not") for f in found for word in f)
    ):
        return ()
    shortest = min(map(len, found))
    shared = set.intersection(*(set(words) for words in found))
    result = []
    for words in found:
        own = [word for word in words if word not in shared]
        if len(own) > shortest and words is found[-1]:
            own = own[:shortest]  # "solid or cystic lesion": the noun is of both
        result.append(" ".join(own))
    others = [word for words in found[1:-1] for word in words]
    result = [_without_common(text, others, len(found)) for text in result]
    return tuple(result) if all(result) and len(set(result)) == len(result) else ()


def _without_common(text: str, others: list[str], count: int) -> str:
    """An alternative without the words that most of a longer list share."""
    if count < 3:
        return text
    kept = [word for word in text.split() if text.split()[0] == word or word not in others]
    return " ".join(kept)


@functools.lru_cache(maxsize=4096)
def _named(alternative: str) -> re.Pattern[str]:
    words = [_PREFIX.sub(r"\1[\\s-]?", re.escape(word)) for word in alternative.split()]
    words = [re.sub(r"gene?ous$", "gene?ous", word) for word in words]
    return re.compile(rf"\b{'[ -]*'.join(words)}(?:e?s)?\b", re.IGNORECASE)
