"""The types of error in one answer, and the types that answers to a case can contain."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from medray.editing.language.english import is_english
from medray.editing.language.markup import final_text
from medray.editing.reading.compare import Comparison
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.imaging.corruption import WHOLE_IMAGE
from medray.records import Case, Pair, PairScore
from medray.targeting.grouping import Grouping, names_of, question_class

# Corruptions that leave nothing of an image: an answer that stays likely did not use it.
_NOTHING_LEFT = ("black", "replacement")


@dataclass(frozen=True, slots=True)
class ErrorObservation:
    """Error types, or classes of them, in alphabetical order: those in which an answer is wrong,
    those in which it is right, and if it can be determined, the one caused by a misreading or by a
    language prior."""

    wrong: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    misread: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()


def classify_errors(
    case: Case, pair: Pair, score: PairScore, prior_below: float, by: Grouping = "error_type"
) -> ErrorObservation:
    """The error types of the answer in a pair, or their classes. Each counts once per answer.

    Wrong types are those that the editor marked or the rules find; right types are those in which
    the rules find that the answer agrees with the reference.
    """
    answer = pair.chosen if pair.response_was_correct else pair.rejected
    outcomes = judge(final_text(answer), facts(case.question, case.reference)).comparisons
    wrong = _types(o for o in outcomes if not o.agrees)
    if not pair.response_was_correct:
        wrong |= {span.error_type for span in pair.rejected_spans}
    right = _types(o for o in outcomes if o.agrees) - wrong
    if (name := question_class(case, by)) is not None:
        wrong, right = (set(), {name}) if pair.response_was_correct else ({name}, set())
    else:
        wrong = names_of(wrong, by)
        right = names_of(right, by) - wrong
    misread, prior = _cause(tuple(wrong), pair, score.visual_contrast, prior_below)
    return ErrorObservation(tuple(sorted(wrong)), tuple(sorted(right)), misread, prior)


def case_types(case: Case, by: Grouping = "error_type") -> frozenset[str]:
    """The types of error, or the classes, that answers to a case can contain, judging by its
    reference; empty if the rules find nothing in it."""
    if (name := question_class(case, by)) is not None:
        return frozenset({name})
    return frozenset(names_of(_reference_types(case.question, case.reference), by))


@lru_cache(maxsize=1 << 18)  # a few hundred bytes each; a case returns every epoch
def _reference_types(question: str, reference: str) -> frozenset[str]:
    """Judge the reference as an answer to its question: what can be compared can be wrong."""
    if not (is_english(question) and is_english(reference)):
        return frozenset()
    return frozenset(_types(judge(reference, facts(question, reference)).comparisons))


def _types(outcomes: Iterable[Comparison]) -> set[str]:
    """Error types of outcomes. An agreeing kind of finding also agrees that one is present."""
    types = set()
    for outcome in outcomes:
        types.add(outcome.error_type)
        if outcome.attribute == "kind" and outcome.agrees:
            types.add("presence")
    return types


def _cause(
    wrong: tuple[str, ...], pair: Pair, contrast: float, prior_below: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(wrong, ()) for a misreading, ((), wrong) for a language prior, ((), ()) if undecidable.

    An answer whose likelihood changes with the image used the image. One that stays shows a prior
    only if v' has nothing of the image: noise on a lesion may leave it visible, and does not
    affect the heart beside it. The contrast is a sum over all edits, so it can only be attributed
    if a pair has a single type.
    """
    if len(wrong) != 1 or not math.isfinite(contrast):
        return (), ()
    if abs(contrast) >= prior_below:
        return wrong, ()
    kind = pair.corruption.partition(" ")[0]
    removed = pair.region_source == WHOLE_IMAGE and kind in _NOTHING_LEFT
    return ((), wrong) if removed else ((), ())
