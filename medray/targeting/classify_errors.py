"""What one answer tells of the policy's errors, and what answers to a case can be wrong about."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from medray.editing.reading.compare import Outcome
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.imaging.corruption import WHOLE_IMAGE
from medray.records import Case, Pair, PairScore

# Corruptions of a whole image that leave nothing of it: an answer that stays did not need it.
_NOTHING_LEFT = ("black", "replacement")


@dataclass(frozen=True, slots=True)
class ErrorObservation:
    """Error types in alphabetical order: those an answer erred in, those it could have and did
    not, and where it can be told, the one that is a misreading or a language prior."""

    wrong: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    misread: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()


def classify_errors(
    case: Case, pair: Pair, score: PairScore, prior_below: float
) -> ErrorObservation:
    """What a pair tells of the answer in it. Each type counts once per answer.

    The errors are those that the editor marked and those that the rules find; what was right is
    what the rules find agreeing with the reference.
    """
    answer = pair.chosen if pair.response_was_correct else pair.rejected
    outcomes = judge(answer, facts(case.question, case.reference)).outcomes
    wrong = _types(o for o in outcomes if not o.agrees)
    if not pair.response_was_correct:
        wrong |= {span.error_type for span in pair.rejected_spans}
    right = _types(o for o in outcomes if o.agrees) - wrong
    misread, prior = _cause(tuple(wrong), pair, score.visual_contrast, prior_below)
    return ErrorObservation(tuple(sorted(wrong)), tuple(sorted(right)), misread, prior)


def case_types(case: Case) -> frozenset[str]:
    """The types of error that answers to a case can make, as far as its reference tells; empty
    where the rules read nothing in it."""
    return _known_types(case.question, case.reference)


@lru_cache(maxsize=1 << 18)  # a few hundred bytes each; a case comes back every epoch
def _known_types(question: str, reference: str) -> frozenset[str]:
    """The reference as an answer to its own question: what can be compared can be wrong."""
    return frozenset(_types(judge(reference, facts(question, reference)).outcomes))


def _types(outcomes: Iterable[Outcome]) -> set[str]:
    """A finding named by its kind was also held present: its presence was at stake as well."""
    types = set()
    for outcome in outcomes:
        types.add(outcome.error_type)
        if outcome.attribute == "kind" and outcome.agrees:
            types.add("presence")
    return types


def _cause(
    wrong: tuple[str, ...], pair: Pair, contrast: float, prior_below: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(wrong, ()) for a misreading, ((), wrong) for a language prior, ((), ()) where untold.

    An answer that changes with the image was made by looking. One that stays needs the image to
    be gone entirely: noise on a lesion may leave it visible, and says nothing of a heart beside
    it. The contrast is a sum over all edits, so it speaks for a pair of one type only.
    """
    if len(wrong) != 1 or not math.isfinite(contrast):
        return (), ()
    if abs(contrast) >= prior_below:
        return wrong, ()
    kind = pair.corruption.partition(" ")[0]
    gone = pair.region_source == WHOLE_IMAGE and kind in _NOTHING_LEFT
    return ((), wrong) if gone else ((), ())
