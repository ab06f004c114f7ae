"""Denies a clause, and takes a denial back: the smallest change of words that does either."""

from __future__ import annotations

import functools
import re

from medray.editing.language.grammar import article, lower_first, match_case
from medray.editing.ontology.lexicon import ontology, phrase_words

Place = tuple[int, int, str]

_COPULA = re.compile(r"\b(?:is|are|was|were|can|could)\b", re.IGNORECASE)
_THERE = re.compile(
    r"\bthere\s+(?:is|are|was|were|(?:appears?|seems?)\s+to\s+be)\s+", re.IGNORECASE
)
_ARTICLE = re.compile(
    r"\b(an?|any|some|several|multiple|numerous|many|two|three|four)\s+((?:[\w'-]+\s+){0,4})$",
    re.IGNORECASE,
)
_EVIDENCE = re.compile(r"\b(?:evidence|signs?|indications?)\s+of\s+$", re.IGNORECASE)
_WITH = re.compile(r"with\b", re.IGNORECASE)
_NO = re.compile(r"\bno\s+(?!longer\b|doubt\b)(\S+)", re.IGNORECASE)
_NOT = re.compile(
    r"\b(?:is|are|was|were|has|have|can)(\s*not\b|n['’]t\b|['’]t\b)(?P<any>\s+any\b)?",
    re.IGNORECASE,
)
_DO_NOT = re.compile(
    r"\b(does|do|did)(?:\s+not|n['’]t)\s+(?:(\w+ly)\s+)?(\w+)(?P<any>\s+any\b)?", re.IGNORECASE
)
_TWICE = re.compile(r"\bnot\s+(?=(?:clear|absent|resolved|free|without)\b)", re.IGNORECASE)


def deny(
    answer: str, start: int, end: int, head_start: int | None, about: int | None = None
) -> Place | None:
    """How the clause [start, end) is made to deny what it asserts; None where that is not clear.

    `head_start` is where its finding is named, if it names one; `about` where what is denied
    stands, whose verb is then the one denied.
    """
    clause = answer[start:end]
    if twice := _TWICE.search(clause):
        return start + twice.start(), start + twice.end(), ""
    if head_start is not None:
        given = _ARTICLE.search(answer[start:head_start])
        of_what = given and _EVIDENCE.search(answer[start : start + given.start(1)])
        if given and not of_what and not _COPULA.search(given.group(2)):
            place = start + given.start(1)
            return place, place + len(given.group(1)), match_case(given.group(1), "no")
        if _WITH.match(clause):
            return start, start + 4, match_case(clause[:4], "without")
    if there := _THERE.search(clause):
        return start + there.end(), start + there.end(), "no "
    place_of = about if head_start is None else head_start
    if verb := _deny_verb(clause, None if place_of is None else place_of - start):
        return start + verb[0], start + verb[1], verb[2]
    if head_start is not None and not re.search(r"\bthe\s", clause[: head_start - start], re.I):
        first = re.match(r"\S+", clause)
        if first:
            new = f"{match_case(first.group(), 'no')} {lower_first(first.group())}"
            return start, start + first.end(), new
    return None


def affirm(answer: str, start: int, end: int, singular: bool) -> Place | None:
    """How a denying clause is made to assert; `singular`: its finding takes an article."""
    clause = answer[start:end]
    if denied := _NOT.search(clause):
        new, stop = _without_any(clause, denied, singular)
        return start + denied.start(1), start + stop, new
    if denied := _DO_NOT.search(clause):
        verb, adverb = denied[3], f"{denied[2]} " if denied[2] else ""
        if denied[1].lower() == "does":
            verb = _third_person(verb)
        elif denied[1].lower() == "did":
            verb = f"{verb}d" if verb.endswith("e") else f"{verb}ed"
        some, stop = _without_any(clause, denied, singular)
        return start + denied.start(), start + stop, adverb + verb + some
    if (no := _NO.search(clause)) is not None:
        return _affirm_no(answer, start + no.start(), start + no.start(1), end, singular)
    for phrase, new in ontology().language["affirmed"].items():
        if found := re.search(rf"\b{phrase}\b", clause, re.IGNORECASE):
            return start + found.start(), start + found.end(), match_case(found.group(), new)
    return None


def turn_opposite(question: str, answer: str, start: int, end: int) -> Place | None:
    """The question's own word for its opposite in [start, end): "abnormal" → "normal"."""
    asked = set(phrase_words(question))
    for pair in ontology().language["opposites"]:
        for word, other in (pair, pair[::-1]):
            if word not in asked or other in asked:
                continue
            if found := re.search(rf"\b{other}\b", answer[start:end], re.IGNORECASE):
                return start + found.start(), start + found.end(), match_case(found.group(), word)
    return None


def _affirm_no(answer: str, place: int, following: int, end: int, singular: bool) -> Place:
    """The article instead of "no", or nothing where what follows takes none."""
    rest = answer[following:end]
    capital = answer[place] == "N"
    if rest.lower().startswith(("evidence of", "sign")) or not singular:
        first = rest[:1].upper() if capital else rest[:1]
        return place, following + 1, first
    return place, place + 2, match_case(answer[place : place + 2], article(rest))


def _without_any(clause: str, denied: re.Match[str], singular: bool) -> tuple[str, int]:
    """What stands for "any" behind a denial that goes, and where the change ends."""
    if denied["any"] is None:
        return "", denied.end()
    following = clause[denied.end() :].strip()
    first = following.split(maxsplit=1)[0].rstrip(".,") if following else ""
    plain = not singular or first.lower().endswith("s") or first.lower() == "evidence"
    return ("" if plain else f" {article(following)}"), denied.end()


def _deny_verb(clause: str, about: int | None) -> Place | None:
    """The last verb before `about`, else the first, denied: "is not", "does not show"."""
    copula = _last_before(list(_COPULA.finditer(clause)), about)
    verb = _last_before(list(_verbs().finditer(clause)), about)
    if verb and copula and about is not None and verb.start() < about <= copula.start():
        copula = None
    later = about is not None and copula and verb and copula.start() < verb.start() < about
    if verb and (later or not (copula and copula.start() < verb.start())):
        adverb = f"{verb[1]} " if verb[1] else ""
        bases = ontology().language["main_verbs"]
        low = verb[2].lower()
        auxiliary = "does" if low in bases else "do"
        return verb.start(), verb.end(), f"{auxiliary} not {adverb}{bases.get(low, low)}"
    if copula is None:
        return None
    return copula.end(), copula.end(), "not" if copula.group().lower() == "can" else " not"


def _last_before(found: list[re.Match[str]], about: int | None) -> re.Match[str] | None:
    before = [match for match in found if about is not None and match.start() < about]
    return before[-1] if before else next(iter(found), None)


@functools.cache
def _verbs() -> re.Pattern[str]:
    bases = ontology().language["main_verbs"]
    forms = "|".join({*bases, *bases.values()})
    return re.compile(rf"\b(?:(\w+ly)\s+)?({forms})\b", re.IGNORECASE)


@functools.cache
def _third_person(verb: str) -> str:
    known = {base: form for form, base in ontology().language["main_verbs"].items()}
    return known.get(verb.lower(), f"{verb}s")
