"""How much a pair matters clinically: from the severity of its edit, over a window of pairs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

from medray.records import Edit

_SPREAD = math.sqrt(0.1)
_LOW, _HIGH = 0.75, 1.25


def relevance(edit: Edit) -> float:
    """The raw score in [0, 1]: as relevant as the worst error in the edit; 0.0 without one."""
    return max((min(1.0, max(0.0, span.severity)) for span in edit.answer_spans), default=0.0)


def normalise(scores: Sequence[float], mode: Literal["window", "none"] = "window") -> list[float]:
    """Scores of one window made comparable: z-scores, brought to mean 1 and variance 0.1,
    clipped to [0.75, 1.25]. Where all scores are equal, 1.0 each; "none" returns them as given.

    Raises ValueError for a score that is not finite, and for another mode.

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
    mean, spread = statistics.fmean(scores), statistics.pstdev(scores)
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return [1.0] * len(scores)
    return [min(_HIGH, max(_LOW, 1.0 + _SPREAD * (s - mean) / spread)) for s in scores]
