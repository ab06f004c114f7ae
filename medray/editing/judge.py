"""The verdict on an answer: right, wrong, or not to be told."""

from __future__ import annotations

from dataclasses import dataclass

from medray.editing.claims import Reading, read, subject_of
from medray.editing.compare import Outcome, compare_statements, compare_study
from medray.editing.facts import Facts, asks_for
from medray.editing.lexicon import ontology, phrase_words
from medray.editing.text import Mention
from medray.records import VerdictName

_SHORT = 6  # words; a phrase rather than a report


@dataclass(frozen=True, slots=True)
class Judgement:
    """`outcomes` are all comparisons made; `answer` is the answer as read."""

    verdict: VerdictName
    answer: Reading
    outcomes: tuple[Outcome, ...]
    reason: str = ""

    @property
    def conflicts(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.agrees]


def judge(answer: str, known: Facts) -> Judgement:
    """Compare an answer with the facts. One contradiction makes it wrong."""
    reading = read(answer, subject=subject_of(known.question))
    if not reading.n_words and reading.word is None:
        return Judgement("abstain", reading, (), "empty-answer")
    same = same_words(answer, known.reference.text)
    outcomes = _word(reading, known)
    outcomes += compare_statements(reading.statements, known.statements)
    said, told = (_comparable(study, reading, known) for study in (reading.study, known.study))
    outcomes += compare_study(said, told, ontology())
    if same:  # a text that contradicts itself is not held against its repetition
        outcomes = [outcome for outcome in outcomes if outcome.agrees]
    if any(not outcome.agrees for outcome in outcomes):
        return Judgement("wrong", reading, tuple(outcomes))
    if outcomes or same:
        return Judgement("right", reading, tuple(outcomes))
    return Judgement("abstain", reading, (), "not-comparable")


def same_words(one: str, other: str) -> bool:
    """Equal but for case, punctuation and articles, and not empty."""
    mine, theirs = (
        [word for word in phrase_words(text) if word not in ("a", "an", "the")]
        for text in (one, other)
    )
    return bool(mine) and mine == theirs


def is_short(reading: Reading) -> bool:
    """A phrase rather than a report."""
    return reading.n_words <= _SHORT


def _word(reading: Reading, known: Facts) -> list[Outcome]:
    if reading.word is None or known.word is None:
        return []
    kind = known.proposition.error_type if known.proposition else "presence"
    return [Outcome(reading.word == known.word, "word", kind)]


def _comparable(study: tuple[Mention, ...], reading: Reading, known: Facts) -> list[Mention]:
    """Leaves out the loose attributes, except between short phrases or where asked for."""
    short = is_short(reading) and is_short(known.reference)
    return [m for m in study if short or _asked(m, known.question)]


def _asked(mention: Mention, question: str) -> bool:
    attribute = ontology().attributes[mention.attribute]
    return not attribute.short_only or asks_for(question, mention.attribute)
