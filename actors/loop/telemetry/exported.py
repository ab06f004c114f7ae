"""The figures of a run, handed to Ray's metrics and to boards: TensorBoard, W&B, MLflow."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from actors.loop.telemetry.series import (
    BOUNDARIES,
    CAUSES,
    COUNTERS,
    DROPS,
    FIGURES,
    GAUGES,
    KINDS,
    PREFIX,
    REASONS,
    RESTARTS,
    SERIES,
    STAGE_KEYS,
    STAGES,
    Series,
)
from medray.tracking import Board, Ending


class Telemetry:
    """Exports each step and evaluation, tagged with the run.

    Everything that has a value before the first step is there from the first scrape: a rate, and an
    alert on it, sees the first increase only of a series that was there before.
    """

    def __init__(self, run: str, steps: int = 0, boards: Sequence[Board] = ()) -> None:
        self.tags = {"run": run}
        self.metrics = {series.name: _metric(series) for series in SERIES}
        self.boards = boards
        for series in SERIES:
            for labels in _first_labels(series):
                self._set_first(series, labels)
        self._set("running", 1.0)
        self._set("steps_planned", float(steps))
        self._set("last_step_timestamp_seconds", time.time())

    def step(self, row: Mapping[str, Any]) -> None:
        """`row`: one line of metrics.jsonl, and `drops`: rows dropped by reason."""
        values = dict(row) | {
            "pairs_per_second": row["pairs_trained"] / max(row["t_step"], 1e-9),
            "tokens_per_second": row["tokens_generated"] / max(row["t_generate"], 1e-9),
        }
        for series in GAUGES:
            if _finite(values.get(series.key)):
                self._set(series.name, float(values[series.key]))
        for series in COUNTERS:
            self._count(series.name, values.get(series.key, 0) or 0)
        self._count("steps_total", 1)
        self._count("steps_skipped_total", int(not row["pairs_trained"]))
        for reason, count in row.get("drops", {}).items():
            self._count(DROPS.name, count, reason=reason)
        for stage, key in STAGE_KEYS.items():
            if _finite(values.get(key)):
                self.metrics[STAGES.name].observe(float(values[key]), self._tags(stage=stage))
        self._set("last_step_timestamp_seconds", time.time())
        self._show(int(row["step"]), figures_of(values))

    def evaluation(self, step: int, result: Mapping[str, Any]) -> None:
        """`result`: as an evaluation is written to the run's directory."""
        for key, value in result.items():
            if _finite(value):
                self._set("evaluation", float(value), figure=key)
        self._show(step, {f"eval/{key}": value for key, value in figures_of(result).items()})
        self._set("evaluation_step", float(step))
        self._set("last_step_timestamp_seconds", time.time())  # the loop is alive

    def restart(self, kind: str, cause: str) -> None:
        """One actor of this kind is started again."""
        self._count(RESTARTS.name, 1, kind=kind, cause=cause)

    def close(self, ending: Ending = "finished") -> None:
        self._set("running", 0.0)
        for board in self.boards:
            board.close(ending)

    def _show(self, step: int, figures: Mapping[str, float]) -> None:
        for board in self.boards:
            board.figures(step, figures)

    def _tags(self, **labels: str) -> dict[str, str]:
        return self.tags | labels

    def _set(self, name: str, value: float, **labels: str) -> None:
        self.metrics[name].set(value, tags=self._tags(**labels))

    def _count(self, name: str, value: float, **labels: str) -> None:
        if value > 0:
            self.metrics[name].inc(float(value), tags=self._tags(**labels))

    def _set_first(self, series: Series, labels: Mapping[str, str]) -> None:
        """Past `Counter.inc`, which refuses 0. Of a histogram it is an observation of 0 s, which
        rates do not see."""
        self.metrics[series.name]._record(series.start, tags=self._tags(**labels))


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row or an evaluation, by name; dropped rows as `drops/REASON`, rates
    as `by_error_type/TYPE`."""
    tables = {key: value for key, value in result.items() if isinstance(value, Mapping)}
    numbers = dict(result) | {f"drops/{reason}": n for reason, n in tables.get("drops", {}).items()}
    for key, rows in tables.items():
        rates = {f"{key}/{name}": row["rate"] for name, row in rows.items() if _has_rate(row)}
        numbers |= rates
    return {key: float(value) for key, value in numbers.items() if _finite(value)}


def _has_rate(row: Any) -> bool:
    return isinstance(row, Mapping) and "rate" in row


def _first_labels(series: Series) -> list[dict[str, str]]:
    """The values of labels, beside the run, that are there from the start."""
    if series is RESTARTS:
        return [{"kind": kind, "cause": cause} for kind in KINDS for cause in CAUSES]
    known = {"stage": tuple(STAGE_KEYS), "reason": REASONS, "figure": FIGURES}
    if not series.labels:
        return [{}]
    (label,) = series.labels
    return [{label: value} for value in known[label]]


def _metric(series: Series) -> Any:
    name, labels = f"{PREFIX}{series.name}", ("run", *series.labels)
    if series.kind == "histogram":
        return Histogram(name, series.text, boundaries=list(BOUNDARIES), tag_keys=labels)
    return (Gauge if series.kind == "gauge" else Counter)(name, series.text, tag_keys=labels)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
