"""Line charts laid out as plain geometry, which the template draws as inline SVG.

    series {name: [(x, y | None)]} ──▶ Chart(ticks, lines) ──▶ chart.svg.j2

Written by hand although matplotlib could draw them: these charts follow the page's light, dark and
print colours through CSS, need no script, carry text for screen readers and for hovering, and stay
small. Lines differ in dash pattern or width as well as in colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 440, 232
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 34  # margins around the plot, in the units of the viewBox
MAX_POINTS = 240  # per line; longer runs are averaged over consecutive steps

Point = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Tick:
    position: float  # along the axis, in the units of the viewBox
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series: an SVG path, its markers as (x, y, hover text), and its last value as text."""

    label: str
    path: str
    markers: tuple[tuple[float, float, str], ...]
    last: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`description` is the text that screen readers read instead of the drawing."""

    title: str
    note: str
    description: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero: float | None  # height of y = 0 if it lies inside the plot, not on its bottom edge
    averaged: int = 1  # steps per point
    width: int = WIDTH
    height: int = HEIGHT


def chart(
    title: str,
    series: Mapping[str, Sequence[Point]],
    *,
    note: str = "",
    low: float | None = None,
    high: float | None = None,
    percent: bool = False,
) -> Chart | None:
    """Lay out a chart of values (y) over steps (x); None if no series has a value.

    A value of None leaves a gap. The y axis includes `low` and `high`; `percent` formats
    fractions as percentages.
    """
    longest = max((len(points) for points in series.values()), default=0)
    stride = -(-longest // MAX_POINTS) or 1
    drawn = {name: _averaged(points, stride) for name, points in series.items()}
    drawn = {name: points for name, points in drawn.items() if _values(points)}
    if not drawn:
        return None
    values = [value for points in drawn.values() for value in _values(points)]
    steps = [x for points in drawn.values() for x, _ in points]
    y_marks = nice_ticks(min([*values, *_given(low)]), max([*values, *_given(high)]), 5)
    x_low, x_high = min(steps), max(steps)
    x_marks = [
        mark for mark in nice_ticks(x_low, x_high, 6, integers=True) if x_low <= mark <= x_high
    ]
    y_low, y_high = y_marks[0], y_marks[-1]

    def to_x(x: float) -> float:
        fraction = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return round(LEFT + fraction * (WIDTH - LEFT - RIGHT), 1)

    def to_y(y: float) -> float:
        return round(TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = tuple(
        _line(name, [(x, y, to_x(x), None if y is None else to_y(y)) for x, y in points], percent)
        for name, points in drawn.items()
    )
    last_values = "; ".join(f"{line.label}: {line.last} at the end" for line in lines)
    gap = y_marks[1] - y_marks[0]
    return Chart(
        title=title,
        note=note,
        description=f"{title}, steps {x_low:g} to {x_high:g}. {last_values}.",
        lines=lines,
        x_ticks=tuple(Tick(to_x(mark), f"{mark:g}") for mark in x_marks),
        y_ticks=tuple(Tick(to_y(mark), _tick_label(mark, gap, percent)) for mark in y_marks),
        zero=to_y(0.0) if y_low < 0 < y_high else None,
        averaged=stride,
    )


def nice_ticks(low: float, high: float, target: int, *, integers: bool = False) -> list[float]:
    """About `target` and at least two round numbers, evenly spaced, that enclose [low, high].

    >>> nice_ticks(0.0, 0.93, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-18):  # one value, up to rounding
        pad = abs(low) * 0.1 or 1.0
        low, high = (low, high + 1) if integers else (low - pad, high + pad)
    rough = (high - low) / max(target - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.8)
    if integers:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, max(last, first + 1) + 1)]


def number(value: float, percent: bool = False) -> str:
    """A value formatted for people: three significant digits, or a percentage.

    >>> number(0.12345), number(0.12345, percent=True), number(12345.6)
    ('0.123', '12.3 %', '12,346')
    """
    if percent:
        return f"{100 * value:.1f} %"
    if value == 0 or 1e-3 <= abs(value) < 1e3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.2e}"


def _line(
    label: str, points: Sequence[tuple[float, float | None, float, float | None]], percent: bool
) -> Line:
    path, pen_down, markers = "", False, []
    last = ""
    for step, value, x, y in points:
        if y is None or value is None:
            pen_down = False
            continue
        path += f"{'L' if pen_down else 'M'}{x:g} {y:g}"
        pen_down = True
        last = number(value, percent)
        markers.append((x, y, f"{label}, step {step:g}: {last}"))
    return Line(label, path, tuple(markers), last)


def _averaged(points: Sequence[Point], stride: int) -> list[Point]:
    """Means over `stride` consecutive points, at the last step of each; gaps are skipped."""
    if stride == 1:
        return list(points)
    out: list[Point] = []
    for start in range(0, len(points), stride):
        chunk = points[start : start + stride]
        values = _values(chunk)
        out.append((chunk[-1][0], sum(values) / len(values) if values else None))
    return out


def _values(points: Sequence[Point]) -> list[float]:
    return [value for _, value in points if value is not None]


def _given(bound: float | None) -> list[float]:
    return [] if bound is None else [bound]


def _tick_label(mark: float, gap: float, percent: bool) -> str:
    """The label of a tick, with as many decimals as the spacing of its axis needs."""
    mark, gap = (100 * mark, 100 * gap) if percent else (mark, gap)
    if abs(mark) >= 1e5 or 0 < gap < 1e-4:
        return f"{mark:.2g}"
    digits = max(0, -math.floor(math.log10(gap) + 1e-9))
    digits += round(gap, digits) != round(gap, digits + 1)  # a spacing of 0.25 needs two
    return f"{mark:,.{digits}f}" + (" %" if percent else "")
