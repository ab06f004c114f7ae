"""Changes the number of a finding, with the noun, the article and the verb that agree with it."""

from __future__ import annotations

import functools
import re

from medray.editing.base import Change
from medray.editing.language.grammar import article, match_case
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words, plural
from medray.editing.reading.claims import Statement

_VERBS = {"is": "are", "was": "were", "shows": "show", "has": "have", "measures": "measure"}

_CLAUSE = re.compile(r"[.!?;,\n]\s*")
_COUNTED_ONE = re.compile(r"\s+(?:[\w-]+(?:al|ic|ar|ary|ous|ing|ed)\s+)?([A-Za-z]+)\b")
_COUNTED = re.compile(r"\s+(?:[\w-]+\s+){0,2}?([A-Za-z]+s)\b")


def recount(answer: str, statement: Statement, count: Mention, wanted: Mention) -> list[Change]:
    """The changes that turn `count` into `wanted`: "two nodules are" into "a single nodule is"."""
    head = statement.head
    noun = (head.start, head.end) if head is not None else None
    return _recount(answer, statement.start, count, wanted, noun)


def recount_things(answer: str, count: Mention, wanted: Mention) -> list[Change]:
    """The same of whatever is counted: "two hearts", "both kidneys"."""
    start = max((m.end() for m in _CLAUSE.finditer(answer, 0, count.start)), default=0)
    pattern = _COUNTED_ONE if count.value == "one" else _COUNTED
    noun = pattern.match(answer, count.end)
    return _recount(answer, start, count, wanted, noun.span(1) if noun else None)


def _recount(
    answer: str, clause: int, count: Mention, wanted: Mention, noun: tuple[int, int] | None
) -> list[Change]:
    forms = ontology().attributes["count"].forms[wanted.value]
    singular = wanted.value == "one"
    same_number = singular == (count.value == "one")
    new = forms.get(count.form, forms["word"])
    if not same_number and count.form != "digit":
        new = wanted.surface.lower() if wanted.form != "digit" else forms["word"]
    start = count.start
    article_before = re.search(r"\b(an?)\s+$", answer[:start], re.IGNORECASE)
    only = re.search(r"\b(?:only|just)\s+$", answer[:start], re.IGNORECASE)
    if only and not singular:
        start = only.start()
    alone = new in ("single", "solitary")
    if article_before and not singular:
        start = article_before.start()
    elif singular and not article_before and alone and start > clause:
        new = f"{article(new)} {new}"
    changes = [Change(start, count.end, match_case(answer[start : count.end], new))]
    if same_number or noun is None:
        return changes
    old = answer[slice(*noun)]
    other = _singular(old) if singular else plural(old)
    if other.lower() != old.lower():
        changes.append(Change(*noun, other))
    return [*changes, *agreeing_verbs(answer, clause, start, noun[1], singular=singular)]


def agreeing_verbs(
    answer: str, clause: int, start: int, end: int, *, singular: bool
) -> list[Change]:
    """The changes of the verbs beside a noun phrase [start, end) that takes another number."""
    before = re.search(r"\b(is|are|was|were)\s+$", answer[clause:start], re.IGNORECASE)
    after = re.match(r"\s+(is|are|was|were|shows?|ha(?:s|ve)|measures?)\b", answer[end:])
    changes = []
    for match, offset in ((before, clause), (after, end)):
        if match and (verb := _verb(match.group(1), singular)):
            changes.append(Change(offset + match.start(1), offset + match.end(1), verb))
    return changes


def _verb(verb: str, singular: bool) -> str:
    other = {many: one for one, many in _VERBS.items()} if singular else _VERBS
    return match_case(verb, other.get(verb.lower(), ""))


def _singular(surface: str) -> str:
    known = _singulars().get(phrase_words(surface))
    if known is not None:
        return match_case(surface, known)
    for ending, new in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("s", "")):
        if surface.lower().endswith(ending) and not surface.lower().endswith("ss"):
            return surface[: -len(ending)] + new
    return surface


@functools.cache
def _singulars() -> dict[tuple[str, ...], str]:
    """The singular of every finding's regular plural, by the words of the plural."""
    onto = ontology()
    names = [
        " ".join(key)
        for key, entries in onto.entries.items()
        if any(e.attribute == "kind" and e.form == "singular" for e in entries)
    ]
    return {phrase_words(plural(name)): name for name in names}
