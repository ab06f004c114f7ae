"""The verdict on an answer: right, wrong, or not to be told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import Reading, read, subject_of
from medray.editing.reading.compare import Outcome, compare_statements, compare_study
from medray.editing.reading.facts import Facts, asks_for, asks_what
from medray.editing.reading.question import compare_opposite, compare_presupposed
from medray.editing.reading.ranking import compare_ranking
from medray.records import VerdictName

_ASIDE = re.compile(r"\b(?:which|where|between|located|situated)\b|[.;]\s", re.IGNORECASE)
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
    all_named = known.word is None and asks_what(known.question)
    outcomes += compare_statements(reading.statements, known.statements, all_named=all_named)
    outcomes += compare_ranking(known.ranking, known.ranked, answer)
    if all(outcome.agrees for outcome in outcomes):  # what is named goes before what is implied
        outcomes += compare_presupposed(known.question, known.reference, reading)
    if reading.word is None:
        outcomes += compare_opposite(known.question, known.word, answer)
    said, told = (_comparable(study, reading, known) for study in (reading.study, known.study))
    outcomes += compare_study(said, told, ontology())
    if same:  # a text that contradicts itself is not held against its repetition
        outcomes = [outcome for outcome in outcomes if outcome.agrees]
    if any(not outcome.agrees for outcome in outcomes):
        return Judgement("wrong", reading, tuple(outcomes))
    if outcomes and not same and _only_the_side(outcomes, answer, known):
        return Judgement("abstain", reading, (), "not-comparable")
    if outcomes or same:
        return Judgement("right", reading, tuple(outcomes))
    reason = "uncertain" if _hinges_on_a_hedge(reading, known) else "not-comparable"
    return Judgement("abstain", reading, (), reason)


def _hinges_on_a_hedge(reading: Reading, known: Facts) -> bool:
    """Whether a verdict was possible if what one side calls possible were said plainly."""
    told = known.reference.uncertain
    if compare_statements(reading.uncertain, (*known.statements, *told)):
        return True
    if reading.hedged and reading.word is None and known.word is not None:
        return True
    word = reading.word is not None and known.reference.hedged and known.word is None
    return word or bool(compare_statements(reading.statements, told))


def _only_the_side(outcomes: Sequence[Outcome], answer: str, known: Facts) -> bool:
    """Whether a short reference names a place that an answer agrees with in its side only.

    "Left adrenal gland" is not "left kidney" for being on the left.
    """
    if known.word is not None or not is_short(known.reference):
        return False
    if any(o.attribute != "side" for o in outcomes):
        return False
    plain = set(ontology().language["side_words"])
    named, said = set(phrase_words(known.reference.text)) - plain, set(phrase_words(answer))
    return bool(named) and not named & said and bool(said - plain)


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
    named = told_organs(study, reading.text, known.question)
    told = named if any(m.attribute == "organ" for m in named) else study
    return [m for m in told if short or _asked(m, known.question)]


def _not_echoed(study: list[Mention], question: str) -> list[Mention]:
    """Without the organs that a question names and an answer repeats beside its own: "the liver is
    part of the respiratory system". Where the question offers a choice all of them count."""
    asked = f" {' '.join(phrase_words(question))} "
    if " or " in asked:
        return study
    echoed = {
        id(m)
        for m in study
        if m.attribute == "organ" and f" {' '.join(phrase_words(m.surface))} " in asked
    }
    own = any(m.attribute == "organ" and id(m) not in echoed for m in study)
    return [m for m in study if id(m) not in echoed] if own else study


def told_organs(study: Sequence[Mention], text: str, question: str) -> list[Mention]:
    """What is said of the study, without organs that are part of the picture's name, repeat the
    question, or only explain the first one."""
    named = [m for m in study if not names_the_picture(m, study)]
    return _main_organs(_not_echoed(named, question), text)


def _main_organs(study: Sequence[Mention], text: str) -> list[Mention]:
    """Without the abdomen of "the spleen, which is in the abdomen"."""
    organs = [m for m in study if m.attribute == "organ"]
    aside = _ASIDE.search(text, organs[0].end) if organs else None
    if aside is None:
        return list(study)
    return [m for m in study if m.attribute != "organ" or m.start < aside.start()]


def names_the_picture(mention: Mention, study: Sequence[Mention]) -> bool:
    """The chest of "the chest X-ray shows the heart": part of the picture's name."""
    return mention.attribute == "organ" and any(
        m.attribute == "modality" and 0 < m.start - mention.end <= 1 for m in study
    )


def _asked(mention: Mention, question: str) -> bool:
    attribute = ontology().attributes[mention.attribute]
    return not attribute.short_only or asks_for(question, mention.attribute)
