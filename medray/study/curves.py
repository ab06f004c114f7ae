"""Learning curves: one panel per method, the same scale in all, means over seeds."""

from __future__ import annotations

from collections.abc import Sequence

from medray.evaluation.metrics import LOWER_IS_BETTER
from medray.report.charts import Chart, Point, chart
from medray.study.comparison import Comparison, Group


def panels(comparison: Comparison, figure: str) -> list[Chart]:
    """A chart per value of the table's first key, with a line per combination of the others.

    Empty if no group was evaluated more than once.
    """
    curves = {group.levels: curve(group, figure) for group in comparison.groups}
    values = [y for points in curves.values() for _, y in points if y is not None]
    if max(map(len, curves.values()), default=0) < 2 or not values:
        return []
    by_first: dict[str, dict[str, Sequence[Point]]] = {}
    for levels, points in curves.items():
        (_, first), *rest = levels
        name = " · ".join(label for _, label in rest) or "mean over seeds"
        by_first.setdefault(first, {})[name] = points
    charts = [
        chart(first, lines, low=min(values), high=max(values), percent=True)
        for first, lines in by_first.items()
    ]
    return [drawn for drawn in charts if drawn is not None]


def curve(group: Group, figure: str) -> list[Point]:
    """(step, mean over seeds) at every step at which all finished cells of the group have it."""
    done = group.done
    steps = sorted(set.intersection(*(set(result.curve) for result in done))) if done else []
    points: list[Point] = []
    for step in steps:
        values = [result.curve[step].get(figure) for result in done]
        known = [value for value in values if value is not None]
        points.append((step, sum(known) / len(known) if len(known) == len(values) else None))
    return points


def direction(figure: str) -> str:
    """Which way is up."""
    return "lower is better" if figure in LOWER_IS_BETTER else "higher is better"
