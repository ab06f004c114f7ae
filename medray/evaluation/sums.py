"""Figures as functions of sums.

Every answer has statistics, numbers that are added up over answers, and a figure is a function of
the sums. So the figure of any resample of thousands of answers costs one product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Statistics: TypeAlias = Mapping[str, float]  # of one answer; a missing one counts as 0


@dataclass(frozen=True, slots=True)
class Figure:
    """`of` maps sums [..., len(statistics)] to values [...], NaN if there is nothing to divide by.

    >>> ratio("accuracy", "right", "closed").of(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([0.75,  nan])
    """

    name: str
    statistics: tuple[str, ...]
    of: Callable[[Floats], Floats]


def divide(above: Floats, below: Floats) -> Floats:
    """Quotients; NaN where `below` is 0."""
    empty = below == 0
    return np.where(empty, np.nan, above / np.where(empty, 1.0, below))


def ratio(name: str, above: str, below: str) -> Figure:
    """Σ above / Σ below."""
    return Figure(name, (above, below), lambda sums: divide(sums[..., 0], sums[..., 1]))


@dataclass(frozen=True, slots=True)
class SumTable:
    """Statistics of rows (answers, or clusters of them): `rows` [N, len(columns)]."""

    columns: Mapping[str, int]
    rows: Floats

    def select(self, figure: Figure, sums: Floats) -> Floats:
        """What `figure.of` takes, from sums [..., len(columns)] of this table's rows."""
        padded = np.concatenate([sums, np.zeros((*sums.shape[:-1], 1))], axis=-1)
        missing = len(self.columns)
        return padded[..., [self.columns.get(name, missing) for name in figure.statistics]]

    def values(self, figure: Figure, sums: Floats) -> Floats:
        """The figure for sums [..., len(columns)] → [...]."""
        return figure.of(self.select(figure, sums))

    def value(self, figure: Figure) -> float | None:
        """The figure over all rows; None if it does not apply."""
        return number(self.values(figure, self.rows.sum(axis=0)))


def number(value: Floats | float) -> float | None:
    """A plain number, None instead of NaN."""
    return None if np.isnan(value) else float(value)


def sum_table(
    statistics: Sequence[Statistics],
    clusters: Sequence[Hashable] | None = None,
    *,
    names: Sequence[str] = (),
) -> SumTable:
    """One row per answer, or per cluster in order of appearance; `names`: columns to have anyway.

    `clusters[i]` identifies the cluster of answer i.
    """
    found = dict.fromkeys([*names, *(name for row in statistics for name in row)])
    columns = {name: index for index, name in enumerate(found)}
    keys = list(range(len(statistics))) if clusters is None else list(clusters)
    order = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    rows = np.zeros((len(order), len(columns)))
    for key, row in zip(keys, statistics, strict=True):
        for name, value in row.items():
            rows[order[key], columns[name]] += value
    return SumTable(columns, rows)
