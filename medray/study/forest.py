"""Forest plots laid out as plain geometry: a value with its interval per row, on a shared scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medray.evaluation.metrics import LOWER_IS_BETTER
from medray.report.charts import Tick, nice_ticks
from medray.study.comparison import Comparison, Group

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 560, 170, 16, 8, 22, 34
SURE = 0.05  # of a corrected p
MODEL_KEYS = ("backbone", "model", "model.path")  # of a grid: one plot for each model


@dataclass(frozen=True, slots=True)
class Row:
    """Positions of the value and of its interval; `kind`: better, worse or unsure."""

    label: str
    text: str
    kind: str
    y: float
    x: float
    x_low: float
    x_high: float


@dataclass(frozen=True, slots=True)
class Forest:
    """`zero`: the position of no difference, None if the values are not differences."""

    title: str
    note: str
    description: str
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    zero: float | None
    width: int
    height: int


def forest(
    comparison: Comparison, figure: str, title: str, shown: Sequence[Group]
) -> Forest | None:
    """The differences of `shown` to the baseline, or their means if the table has none."""
    compared = bool(comparison.table.baseline)
    values = [(group, *_value(group, figure, compared)) for group in shown]
    known = [(g, v, low, high) for g, v, low, high in values if v is not None]
    if not known:
        return None
    ends = [end for _, *row in known for end in row if end is not None]
    marks = nice_ticks(min([*ends, 0.0] if compared else ends), max([*ends, 0.0]), 5)

    def to_x(value: float) -> float:
        share = (value - marks[0]) / (marks[-1] - marks[0])
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    rows = []
    for n, (group, value, low, high) in enumerate(known):
        assert value is not None
        ends_of = (value if low is None else low), (value if high is None else high)
        text = f"{100 * value:+.1f}" if compared else f"{100 * value:.1f}"
        text += f" [{100 * ends_of[0]:.1f}, {100 * ends_of[1]:.1f}]"
        y = TOP + ROW * (n + 0.5)
        kind = _kind(group, figure) if compared else "unsure"
        positions = to_x(value), to_x(ends_of[0]), to_x(ends_of[1])
        rows.append(Row(label_of(group), text, kind, y, *positions))
    lower = " · lower is better" if figure in LOWER_IS_BETTER else ""
    note = f"percentage points against the baseline{lower}" if compared else f"%{lower}"
    return Forest(
        title=title,
        note=note,
        description=f"{title}: " + "; ".join(f"{row.label} {row.text}" for row in rows),
        rows=tuple(rows),
        ticks=tuple(Tick(to_x(mark), f"{100 * mark:g}") for mark in marks),
        zero=to_x(0.0) if compared else None,
        width=WIDTH,
        height=TOP + ROW * len(rows) + BOTTOM,
    )


def label_of(group: Group) -> str:
    """The labels of a group's levels, without the model: each has a plot of its own."""
    return " · ".join(label for key, label in group.levels if key not in MODEL_KEYS)


def _value(
    group: Group, figure: str, compared: bool
) -> tuple[float | None, float | None, float | None]:
    if compared:
        found = group.differences.get(figure)
        return (found["value"], found["low"], found["high"]) if found else (None, None, None)
    low, high = group.intervals.get(figure, (None, None))
    return group.means.get(figure), low, high


def _kind(group: Group, figure: str) -> str:
    found = group.differences[figure]
    if not found["p_holm"] < SURE:
        return "unsure"
    better = (found["value"] < 0) == (figure in LOWER_IS_BETTER)
    return "better" if better else "worse"
