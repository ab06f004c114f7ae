"""By table, groups of cells that differ in their seeds only: means, differences to a baseline.

Seeds are pooled: the answers of all seeds to one image are one cluster, so that intervals and
tests are about other images, of these seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medray.evaluation.metrics import LOWER_IS_BETTER, compare, summarise
from medray.study.design import Study, Table
from medray.study.results import CellResult

FIGURES = (
    *("report_exact", "closed_accuracy", "choice_accuracy", "open_recall"),
    *("hallucination_rate", "omission_rate", "finding_f1"),
)
Levels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Group:
    """Cells with the same levels but for seeds. By figure: the mean over seeds, the interval of the
    pooled answers, and against the baseline's group of the same other levels the difference, its
    interval, p, and p corrected for all comparisons of the table (Holm)."""

    levels: Levels
    results: list[CellResult]
    means: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> list[CellResult]:
        return [result for result in self.results if result.failure]

    @property
    def done(self) -> list[CellResult]:
        return [result for result in self.results if not result.failure]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The groups of one table, in the order of its cells."""

    table: Table
    groups: list[Group]

    @property
    def keys(self) -> list[str]:
        """What the groups differ in."""
        return [key for key, _ in self.groups[0].levels] if self.groups else []

    @property
    def figures(self) -> list[str]:
        """The figures that some group has."""
        return [name for name in FIGURES if any(name in group.means for group in self.groups)]


def compare_tables(study: Study, results: Sequence[CellResult]) -> list[Comparison]:
    """One comparison for each table of the study."""
    by_name = {result.cell.name: result for result in results}
    return [Comparison(table, _compare_table(table, by_name)) for table in study.tables]


def _compare_table(table: Table, results: Mapping[str, CellResult]) -> list[Group]:
    groups: dict[Levels, Group] = {}
    for cell in table.cells:
        result = replace(results[cell.name], cell=cell)
        groups.setdefault(cell.group, Group(cell.group, [])).results.append(result)
    for group in groups.values():
        _summarise(group)
    for group in groups.values():
        _compare(group, groups.get(_with_baseline(group.levels, table.baseline)))
    _correct([group.differences for group in groups.values()])
    _rank(list(groups.values()))
    return list(groups.values())


def holm(p_values: Sequence[float]) -> list[float]:
    """p corrected for several comparisons by Holm's step-down method, in the given order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _summarise(group: Group) -> None:
    done = group.done
    if not done:
        return
    for figure in FIGURES:
        values = [result.figures[figure] for result in done if figure in result.figures]
        if len(values) == len(done):
            group.means[figure] = sum(values) / len(values)
    pooled = summarise([row for result in done for row in result.answers])
    intervals: Any = pooled["intervals"]
    group.intervals = {name: intervals[name] for name in group.means if name in intervals}


def _with_baseline(levels: Levels, baseline: Levels) -> Levels:
    changed = dict(baseline)
    return tuple((key, changed.get(key, label)) for key, label in levels)


def _compare(group: Group, baseline: Group | None) -> None:
    if baseline is None or baseline is group or not (group.done and baseline.done):
        return
    ours, theirs = (
        [row for result in side.done for row in result.answers] for side in (group, baseline)
    )
    found: Any = compare(ours, theirs)["difference"]
    group.differences = {
        name: found[name] for name in group.means if found.get(name, {}).get("p") is not None
    }


def _correct(tables: Sequence[Mapping[str, dict[str, float]]]) -> None:
    """Per figure, over all groups that are compared with a baseline."""
    for figure in FIGURES:
        entries = [table[figure] for table in tables if figure in table]
        for entry, p in zip(entries, holm([e["p"] for e in entries]), strict=True):
            entry["p_holm"] = p


def _rank(groups: Sequence[Group]) -> None:
    """1 is the best group; equal means share a rank."""
    for figure in FIGURES:
        sign = 1 if figure in LOWER_IS_BETTER else -1
        known = [group for group in groups if figure in group.means]
        for group in known:
            own = sign * group.means[figure]
            group.ranks[figure] = 1 + sum(sign * g.means[figure] < own for g in known)
