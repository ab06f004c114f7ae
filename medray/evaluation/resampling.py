"""Confidence intervals of figures, and paired tests between two sets of answers.

What is drawn are clusters, the answers about one image or of one patient, because answers within
one are not independent. Both sides of a comparison draw the same clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medray.evaluation.sums import Figure, Floats, SumTable, number

RESAMPLES = 1000
PERMUTATIONS = 9999
EXACT_UP_TO = 13  # clusters; up to here all 2^n exchanges are counted
PERCENTILES = (2.5, 97.5)
CHUNK = 1000  # resamples in memory at once
TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """This minus the other, on the same cases: value, 95 % interval, two-sided p."""

    value: float
    low: float
    high: float
    p: float


def intervals(
    figures: Sequence[Figure], clusters: SumTable, *, seed: int = 0
) -> dict[str, list[float]]:
    """Name → [low, high], the 95 % percentile bootstrap over clusters (rows of the table).

    Figures that do not apply have none, and with fewer than two clusters no figure has one.
    """
    if len(clusters.rows) < 2:
        return {}
    totals = _draw(len(clusters.rows), seed) @ clusters.rows
    known = [figure for figure in figures if clusters.value(figure) is not None]
    return {figure.name: _bounds(clusters.values(figure, totals)) for figure in known}


def differences(
    figures: Sequence[Figure], ours: SumTable, theirs: SumTable, *, seed: int = 0
) -> dict[str, Difference]:
    """Paired comparison; row i of both tables is the same cluster, and their columns are the same.

    The interval is the percentile bootstrap of the difference. p is the share of exchanges of the
    two sides within clusters after which the difference is at least as large: all exchanges for up
    to 13 clusters, else 9,999 random ones, counting the observed one.
    """
    if len(ours.rows) < 2:
        return {}
    draws = _draw(len(ours.rows), seed)
    resampled = draws @ ours.rows, draws @ theirs.rows
    known = [f for f in figures if ours.value(f) is not None and theirs.value(f) is not None]
    p = _exchange(known, ours, theirs, seed)
    result = {}
    for figure, probability in zip(known, p, strict=True):
        value = (ours.value(figure) or 0.0) - (theirs.value(figure) or 0.0)
        mine, other = (ours.values(figure, totals) for totals in resampled)
        low, high = _bounds(mine - other)
        result[figure.name] = Difference(value, low, high, probability)
    return result


def _draw(clusters: int, seed: int) -> Floats:
    """How often each cluster is drawn in each resample: [RESAMPLES, clusters]."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)
    return counts.astype(np.float64)


def _bounds(values: Floats) -> list[float]:
    """Percentiles over the resamples in which the figure exists."""
    low, high = np.nanpercentile(values, PERCENTILES)
    return [float(low), float(high)]


def _exchange(
    figures: Sequence[Figure], ours: SumTable, theirs: SumTable, seed: int
) -> list[float]:
    """The p of each figure. An exchange after which a figure does not exist counts as extreme."""
    total, surplus = theirs.rows.sum(axis=0), ours.rows - theirs.rows
    both = total + ours.rows.sum(axis=0)
    observed = [abs((ours.value(f) or 0.0) - (theirs.value(f) or 0.0)) for f in figures]
    extreme, count = np.zeros(len(figures)), 0
    for kept in _exchanges(len(ours.rows), seed):
        mine = total + kept @ surplus
        count += len(kept)
        for index, figure in enumerate(figures):
            gap = np.abs(ours.values(figure, mine) - ours.values(figure, both - mine))
            smaller = gap < observed[index] - TOLERANCE
            extreme[index] += np.count_nonzero(~smaller)
    exact = len(ours.rows) <= EXACT_UP_TO
    return [float(n / count if exact else (n + 1) / (count + 1)) for n in extreme]


def _exchanges(clusters: int, seed: int) -> Iterator[Floats]:
    """Chunks [≤ CHUNK, clusters] of 1 (a cluster keeps its sides) and 0 (they are exchanged)."""
    if clusters <= EXACT_UP_TO:
        numbers = np.arange(2**clusters)
        for start in range(0, len(numbers), CHUNK):
            part = numbers[start : start + CHUNK, None]
            yield ((part >> np.arange(clusters)) & 1).astype(np.float64)
        return
    generator = np.random.default_rng([seed, 1])
    for start in range(0, PERMUTATIONS, CHUNK):
        size = (min(CHUNK, PERMUTATIONS - start), clusters)
        yield generator.integers(0, 2, size=size).astype(np.float64)


def plain(difference: Difference) -> dict[str, float | None]:
    """For JSON."""
    return {key: number(getattr(difference, key)) for key in ("value", "low", "high", "p")}
