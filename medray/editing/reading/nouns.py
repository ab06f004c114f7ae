"""What a clause speaks of in words that no rule reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medray.editing.language.grammar import plain_stems
from medray.editing.language.text import stem
from medray.editing.ontology.lexicon import phrase_words
from medray.editing.reading.claims import Statement

_SEVERAL = 2
_NEW = re.compile(r"\bnew\b", re.IGNORECASE)
_REST = re.compile(
    r"\b(?:remaining|remainder|otherwise|elsewhere)\b|\brest\s+of\b|\bother\s+(?:lung|areas|parts)\b",
    re.IGNORECASE,
)
_BARE = 3  # words of a clause without a noun: "on the left"


def same_noun(one: Statement, other: Statement) -> bool:
    """Whether statements of which one names no finding share a noun: "left lower lobe collapse" and
    "right middle lobe collapse", but not "the left lobe is homogeneous". "On the left" has none."""
    if one.head is not None and other.head is not None:
        return True
    words, nouns = zip(*map(_clause_words, (one, other)), strict=True)
    bare = (len(w) <= _BARE and not named for w, named in zip(words, nouns, strict=True))
    return bool(nouns[0] & nouns[1]) or any(bare)


def nearest(statement: Statement, facts: Sequence[Statement]) -> list[Statement]:
    """Of several facts those of the statement's own kind that share a noun with it, if some do: a
    lytic lesion of the scapula is none of the lung's nodules."""
    if statement.head is None or len(facts) < _SEVERAL:
        return list(facts)
    own = _clause_words(statement)[1]
    kind = statement.head.value
    same = [f for f in facts if f.head and f.head.value == kind and own & _clause_words(f)[1]]
    return same or list(facts)


def fullest(facts: Sequence[Statement]) -> list[Statement]:
    """The facts without those that say less of a finding than another one does: "small right
    pneumothorax", beside "small right apical pneumothorax, 8 mm"."""
    stated = [{(m.attribute, m.value) for m in fact.details} for fact in facts]
    counted = [any(m.attribute == "number" for m in fact.details) for fact in facts]
    kinds = [fact.head.value if fact.head else "" for fact in facts]
    one = [fact.head is not None and fact.head.form == "singular" for fact in facts]
    numbers = range(len(facts))

    def is_less(less: int, more: int) -> bool:
        both_one = one[less] and one[more] and not counted[less] and not counted[more]
        return both_one and kinds[less] == kinds[more] and stated[less] < stated[more]

    return [facts[i] for i in numbers if not any(is_less(i, j) for j in numbers)]


def calls_new(statement: Statement) -> bool:
    """Whether a clause speaks of something new: "no new nodules"."""
    return _NEW.search(_clause(statement)) is not None


def is_of_the_rest(statement: Statement) -> bool:
    """Whether a clause is about what else there is: "the remaining lungs are clear"."""
    return _REST.search(_clause(statement)) is not None


def _clause(statement: Statement) -> str:
    first = statement.sentence[0]
    return statement.core[statement.start - first : statement.end - first]


def _clause_words(statement: Statement) -> tuple[tuple[str, ...], set[str]]:
    """The words of a clause, and the stems of those that are no attribute and no plain word."""
    clause = bare = _clause(statement)
    for m in statement.details:
        bare = bare.replace(m.surface, " ")
    return phrase_words(clause), {stem(w) for w in phrase_words(bare)} - plain_stems()
