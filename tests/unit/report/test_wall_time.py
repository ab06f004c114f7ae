"""Where the time went: the parts add up to the starts of a run."""

from __future__ import annotations

import datetime as dt

import pytest

from medray.report.progress import LOADING, STARTED
from medray.report.wall_time import wall_time

METRICS = [
    {"step": n, "t_step": 10.0, "t_generate": 4.0, "t_edit": 1.0, "t_learn": 4.0, "t_sync": 0.5}
    for n in (1, 2)
]
EVALS = [{"seconds": 20.0}, {"seconds": 30.0}]


def line(seconds: float, text: str) -> tuple[dt.datetime, str]:
    return dt.datetime(2026, 1, 2, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds), text


def test_two_starts_with_a_log() -> None:
    log = [
        *(line(0, STARTED), line(30, LOADING), line(60, "evaluating step 0")),
        *(line(85, "step 1/2 · …"), line(100, "stopped")),
        *(line(1000, STARTED), line(1010, LOADING), line(1050, "step 2/2"), line(1100, "report")),
    ]
    time = wall_time(log, METRICS, EVALS)
    assert (time.total, time.starts, time.overlap) == (200.0, 2, False)
    parts = {part.label: part.seconds for part in time.parts}
    assert parts == {
        "start": 110.0, "steps": 20.0, "generate": 8.0, "edit": 2.0, "learn": 8.0, "sync": 1.0,
        "evaluation": 50.0, "other": 20.0,
    }  # fmt: skip
    assert sum(part.share for part in time.parts if not part.within) == pytest.approx(1)
    assert (time.began, time.ended) == (log[0][0], log[-1][0])


def test_a_run_without_a_log_or_anything() -> None:
    time = wall_time([], [METRICS[0] | {"t_step": 5.0}], [])
    assert (time.total, time.overlap, time.began) == (5.0, True, None)
    assert wall_time([], [], []).parts == ()
    assert wall_time([line(0, LOADING)], [], []).total == 0
