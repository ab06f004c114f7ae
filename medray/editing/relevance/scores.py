"""Raw scores by severity or significance, and their normalisation over a window of pairs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

from medray.editing.relevance.significance import grades, significance
from medray.records import Edit, EditedSentence

Scale = Literal["severity", "significance"]

_STD = math.sqrt(0.1)
_LOW, _HIGH = 0.75, 1.25


def relevance(edit: Edit | EditedSentence) -> float:
    """The raw score in [0, 1]: the severity of the worst error in the edit; 0.0 without errors."""
    return max((min(1.0, max(0.0, span.severity)) for span in edit.answer_spans), default=0.0)


def score_relevance(
    scale: Scale, question: str, text: str, edit: Edit | EditedSentence
) -> tuple[float, str]:
    """(raw score in [0, 1], note for Pair.editor) of the edit of `text`, an answer or its sentence.

    >>> score_relevance("severity", "", "Left", Edit("abstain"))
    (0.0, '')
    """
    if scale == "severity":
        return relevance(edit), ""
    return significance(question, text, edit), f"relevance=significance/{grades().version}"


def normalise(scores: Sequence[float], mode: Literal["window", "none"] = "window") -> list[float]:
    """The scores of one window as z-scores, rescaled to mean 1 and variance 0.1, and clipped to
    [0.75, 1.25]. If all scores are equal, 1.0 each; "none" returns them unchanged.

    Raises ValueError for a score that is not finite and for an unknown mode.

    >>> normalise([0.5, 0.5]), normalise([0.2, 0.4], mode="none"), normalise([0.0, 1.0])
    ([1.0, 1.0], [0.2, 0.4], [0.75, 1.25])
    """
    if mode not in ("window", "none"):
        raise ValueError(f"mode {mode!r}: not a normalisation; use 'window' or 'none'")
    if not all(math.isfinite(score) for score in scores):
        raise ValueError("a relevance score is not finite; give scores in [0, 1]")
    if mode == "none":
        return list(scores)
    if not scores:
        return []
    mean, std = statistics.fmean(scores), statistics.pstdev(scores)
    if std <= 1e-12 * max(1.0, abs(mean)):
        return [1.0] * len(scores)
    return [min(_HIGH, max(_LOW, 1.0 + _STD * (s - mean) / std)) for s in scores]
