"""Whether a policy is as sure of its yes and no as it is right.

The confidence of an answer is the probability that the policy gave to its first token, the yes or
no, before any temperature.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from medray.evaluation.sums import Figure, Floats, divide, ratio

BINS = 10
_STARTS_WITH_WORD = re.compile(r"\s*(yes|no)\b", re.IGNORECASE)
_COLUMNS = tuple(f"calibration/{part}_{i}" for part in ("n", "sure", "right") for i in range(BINS))


def confidence_of(answer: str, token_logps: Sequence[float]) -> float | None:
    """From the raw log-probabilities of an answer's tokens; None without a yes or no in front."""
    if not token_logps or not answers_at_once(answer):
        return None
    return math.exp(min(0.0, token_logps[0]))


def answers_at_once(answer: str) -> bool:
    """Whether an answer begins with yes or no, so that its first token has the confidence."""
    return _STARTS_WITH_WORD.match(answer) is not None


def calibration(confidence: float, *, right: bool) -> dict[str, float]:
    """Statistics of one closed answer; `confidence` in [0, 1]."""
    index = min(int(confidence * BINS), BINS - 1)
    return {
        f"calibration/n_{index}": 1.0,
        f"calibration/sure_{index}": confidence,
        f"calibration/right_{index}": float(right),
        "brier/sum": (confidence - float(right)) ** 2,
        "brier/answers": 1.0,
    }


def _error(sums: Floats) -> Floats:
    n, sure, right = (sums[..., i * BINS : (i + 1) * BINS] for i in range(3))
    return divide(np.abs(sure - right).sum(axis=-1), n.sum(axis=-1))


# Expected calibration error: Σ over ten bins of confidence of |Σ confidence − right answers|,
# divided by the number of answers; and the mean of (confidence − right)².
FIGURES = (
    Figure("calibration_error", _COLUMNS, _error),
    ratio("brier", "brier/sum", "brier/answers"),
)
