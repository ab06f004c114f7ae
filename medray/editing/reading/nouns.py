"""What a clause speaks of in words that no rule reads."""

from __future__ import annotations

from medray.editing.language.grammar import plain_stems
from medray.editing.language.text import stem
from medray.editing.ontology.lexicon import phrase_words
from medray.editing.reading.claims import Statement

_BARE = 3  # words of a clause without a noun: "on the left"


def same_noun(one: Statement, other: Statement) -> bool:
    """Whether statements of which one names no finding share a noun: "left lower lobe collapse" and
    "right middle lobe collapse", but not "the left lobe is homogeneous". "On the left" has none."""
    if one.head is not None and other.head is not None:
        return True
    words, nouns = zip(*map(_clause_words, (one, other)), strict=True)
    return bool(nouns[0] & nouns[1]) or any(len(clause) <= _BARE for clause in words)


def _clause_words(statement: Statement) -> tuple[tuple[str, ...], set[str]]:
    """The words of a clause, and the stems of those that are no attribute and no plain word."""
    first = statement.sentence[0]
    clause = bare = statement.core[statement.start - first : statement.end - first]
    for m in statement.details:
        bare = bare.replace(m.surface, " ")
    return phrase_words(clause), {stem(w) for w in phrase_words(bare)} - plain_stems()
