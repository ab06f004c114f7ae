"""Intervals of shares, and how far readers agree beyond chance.

Cohen's kappa for two readers; Krippendorff's alpha (nominal) for more, because not every reader
grades every pair. Both are of the answers as they were given, A or B: sides are in random order,
so chance agrees on them about as often as not, however good the pairs are. Of "chosen" and
"rejected" chance would agree almost always where nearly all pairs are good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
RESAMPLES = 1000
MISSING = -1

Labels: TypeAlias = NDArray[np.int64]  # [pairs, readers]: number of a category, or MISSING


@dataclass(frozen=True, slots=True)
class Agreement:
    """`value`: None if all answers are the same, so that chance agrees, too.

    `low`, `high`: 95 % percentile bootstrap over pairs. `equal`: how often another reader of the
    pair gave the same answer. `pairs`: those with at least two answers.
    """

    method: str
    value: float | None
    low: float | None
    high: float | None
    equal: float
    pairs: int


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share; `n` may be an effective sample size.

    >>> [round(bound, 3) for bound in wilson(0.5, 10)]
    [0.237, 0.763]
    """
    centre = share + Z**2 / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def agreement(labels: Labels, *, seed: int = 0) -> Agreement | None:
    """Of answers [pairs, readers]; None if no pair has two."""
    shared = labels[(labels != MISSING).sum(axis=1) > 1]
    if not len(shared):
        return None
    two = labels.shape[1] == 2
    method: Callable[[Labels], float] = cohens_kappa if two else krippendorffs_alpha
    draws = np.random.default_rng(seed).integers(0, len(shared), (RESAMPLES, len(shared)))
    resampled = np.array([method(shared[rows]) for rows in draws])
    value, known = method(shared), resampled[~np.isnan(resampled)]
    defined = not np.isnan(value)
    bounds = np.percentile(known, (2.5, 97.5)).tolist() if len(known) else (None, None)
    together = coincidences(shared)
    return Agreement(
        method="Cohen's kappa" if two else "Krippendorff's alpha",
        value=value if defined else None,
        low=bounds[0],
        high=bounds[1],
        equal=float(np.trace(together) / together.sum()),
        pairs=len(shared),
    )


def cohens_kappa(labels: Labels) -> float:
    """Of two readers' answers [pairs, 2], none missing; NaN if both always gave the same one."""
    shares = coincidences(labels) / (2 * len(labels))
    first, second = (np.bincount(column, minlength=len(shares)) for column in labels.T)
    expected = float(first @ second) / len(labels) ** 2
    observed = float(np.trace(shares))
    return float("nan") if expected == 1 else (observed - expected) / (1 - expected)


def krippendorffs_alpha(labels: Labels) -> float:
    """Of any number of readers' answers [pairs, readers], nominal; NaN if all are the same."""
    together = coincidences(labels)
    totals = together.sum(axis=1)
    n = totals.sum()
    unequal, by_chance = n - np.trace(together), n**2 - totals @ totals
    return float("nan") if by_chance == 0 else float(1 - (n - 1) * unequal / by_chance)


def coincidences(labels: Labels) -> NDArray[np.float64]:
    """How often two answers [pairs, readers] to one pair are the categories c and k: [c, k].

    Ordered pairs of answers, weighted so that every answer counts once. Each pair has at least two.
    """
    categories = np.arange(labels.max() + 1)
    counts = (labels[:, :, None] == categories).sum(axis=1).astype(np.float64)  # [pairs, c]
    weights = 1 / (counts.sum(axis=1) - 1)
    together = np.einsum("p,pc,pk->ck", weights, counts, counts)
    return together - np.diag(weights @ counts)
