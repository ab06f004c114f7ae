"""Line charts as geometry: gaps, long runs, and round ticks."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from medray.report.charts import chart, nice_ticks


def test_charts_leave_gaps_and_average_long_runs() -> None:
    drawn = chart("Loss", {"loss": [(1, 1.0), (2, None), (3, 0.5), (4, 0.4)], "empty": [(1, None)]})
    assert drawn is not None
    assert [line.label for line in drawn.lines] == ["loss"]
    assert [part[0] for part in re.findall(r"[ML]", drawn.lines[0].path)] == ["M", "M", "L"]
    long = chart("Loss", {"loss": [(i, float(i % 2)) for i in range(2400)]})
    assert long is not None
    assert (long.averaged, len(long.lines[0].markers)) == (10, 240)
    assert long.lines[0].last == "0.5"
    assert chart("Nothing", {"loss": [(1, None)]}) is None


@example(0.0, 5e-324)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_enclose_the_values(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width, 5)
    slack = 1e-6 * max(1.0, abs(low) + width)
    assert 2 <= len(ticks) <= 12
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
