"""What a run exports, without Ray: metrics that only remember."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from actors.loop import telemetry as room
from actors.loop.telemetry import SERIES, Telemetry, exported

ROW = {
    "step": 3, "loss": 0.5, "reward_margin": 0.1, "reward_accuracy": 0.75, "grad_norm": math.nan,
    "lr": 1e-4, "policy_version": 2, "lag_max": 1, "pairs_trained": 30, "pairs_dropped": 2,
    "answers_trained": 28, "answers_dropped": 4, "answers_in_flight": 8, "tokens_generated": 900,
    "t_generate": 3.0, "t_edit": 0.5, "t_learn": 2.0, "t_sync": None, "t_step": 6.0,
    "logp_gap": None, "drops": {"stale": 1, "unfinished-answer": 3},
}  # fmt: skip


class Remembered:
    """A metric of Ray: the last value of each set of labels, or their sum."""

    def __init__(self, name, description="", tag_keys=(), boundaries=()):
        self.values, self.tag_keys = {}, tag_keys

    def _record(self, value, tags):
        assert set(tags) == set(self.tag_keys)
        key = tuple(sorted((k, v) for k, v in tags.items() if k != "run"))
        self.values.setdefault(key, []).append(value)

    set = observe = inc = _record


@pytest.fixture
def telemetry(monkeypatch, tmp_path: Path) -> Telemetry:
    for name in ("Gauge", "Counter", "Histogram"):
        monkeypatch.setattr(exported, name, Remembered)
    return Telemetry("r", steps=20)


def last(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.metrics[name].values[tuple(sorted(labels.items()))][-1]


def total(telemetry: Telemetry, name: str, **labels: str) -> float:
    return sum(telemetry.metrics[name].values[tuple(sorted(labels.items()))])


def test_every_series_has_a_value_before_the_first_step(telemetry):
    assert set(telemetry.metrics) == {series.name for series in SERIES}
    assert [name for name, metric in telemetry.metrics.items() if not metric.values] == []
    assert last(telemetry, "running") == 1
    assert last(telemetry, "steps_planned") == 20
    assert last(telemetry, "evaluation_step") == -1
    assert last(telemetry, "restarts_total", kind="generator", cause="died") == 0


def test_a_step(telemetry):
    telemetry.step(ROW)
    assert last(telemetry, "loss") == 0.5
    assert last(telemetry, "lag") == 1
    assert last(telemetry, "step") == 3
    assert last(telemetry, "pairs_per_second") == pytest.approx(5.0)
    assert last(telemetry, "tokens_per_second") == pytest.approx(300.0)
    assert last(telemetry, "grad_norm") == 0  # NaN is not a value
    assert total(telemetry, "drops_total", reason="unfinished-answer") == 3
    assert total(telemetry, "steps_total") == 1
    assert total(telemetry, "steps_skipped_total") == 0
    assert total(telemetry, "stage_seconds", stage="learn") == 2.0
    assert len(telemetry.metrics["stage_seconds"].values[(("stage", "sync"),)]) == 1


def test_counters_add_up_over_steps(telemetry):
    telemetry.step(ROW)
    telemetry.step(ROW | {"step": 4, "pairs_trained": 0, "drops": {"non-finite-loss": 32}})
    assert total(telemetry, "pairs_trained_total") == 30
    assert total(telemetry, "steps_total") == 2
    assert total(telemetry, "steps_skipped_total") == 1
    assert total(telemetry, "drops_total", reason="non-finite-loss") == 32


def test_an_evaluation_a_restart_and_the_end(telemetry):
    telemetry.evaluation(10, {"report_exact": 0.5, "intervals": {}, "brier": None})
    telemetry.restart("editor", "stuck")
    telemetry.close()
    assert last(telemetry, "evaluation", figure="report_exact") == 0.5
    assert last(telemetry, "evaluation_step") == 10
    assert total(telemetry, "restarts_total", kind="editor", cause="stuck") == 1
    assert last(telemetry, "running") == 0


class Kept:
    """A board that only remembers."""

    def __init__(self):
        self.sets, self.endings = [], []

    def figures(self, step, values):
        self.sets.append((step, dict(values)))

    def close(self, ending):
        self.endings.append(ending)


def test_every_board_gets_the_same_figures_at_the_same_steps(telemetry):
    telemetry.boards = [Kept(), Kept()]
    telemetry.step(ROW)
    rates = {"side": {"asserted": 4, "contradicted": 1, "rate": 0.25}, "none": {"rate": None}}
    telemetry.evaluation(
        3, {"report_exact": 0.5, "by_error_type": rates, "intervals": {"report_exact": [0, 1]}}
    )
    telemetry.close("stopped")
    first, second = telemetry.boards
    assert first.sets == second.sets
    (step, figures), evaluation = first.sets
    assert step == 3
    assert figures["loss"] == 0.5
    assert figures["drops/unfinished-answer"] == 3.0
    assert figures["pairs_per_second"] == pytest.approx(5.0)
    assert not {"grad_norm", "t_sync", "logp_gap", "drops"} & figures.keys()  # no numbers
    assert evaluation == (3, {"eval/report_exact": 0.5, "eval/by_error_type/side": 0.25})
    assert first.endings == second.endings == ["stopped"]


def test_the_room_exports_its_face():
    assert room.SERIES is SERIES
