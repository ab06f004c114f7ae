"""The figures of a step, for Ray's metrics (dashboard, Prometheus) and TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.util.metrics import Counter, Gauge
from torch.utils.tensorboard import SummaryWriter

GAUGES = {
    "loss": "Mean loss per pair of the last step",
    "reward_margin": "Mean reward of chosen minus rejected",
    "reward_accuracy": "Share of pairs with a positive margin",
    "logp_gap": "Mean |log p(learner) - log p(generator)| per golden token, in nats",
    "grad_norm": "Gradient norm before clipping",
    "policy_version": "Policy version the step trained from",
    "pairs_per_second": "Trained pairs per second of the step",
    "tokens_per_second": "Generated tokens per second of generation",
    "sync_seconds": "Seconds of the weight update",
}
COUNTERS = {
    "pairs_trained": "Pairs trained on",
    "pairs_dropped": "Pairs not trained on, and answers without a pair",
    "answers_trained": "Answers of which at least one pair was trained on",
    "answers_dropped": "Answers dropped, with a reason in the ledger",
}


class Telemetry:
    """Exports each step; names on Prometheus are ray_medray_<key>, tagged with the run."""

    def __init__(self, run: str, logs: Path) -> None:
        tags = ("run",)
        self.gauges = {k: Gauge(f"medray_{k}", text, tag_keys=tags) for k, text in GAUGES.items()}
        self.counters = {
            k: Counter(f"medray_{k}_total", text, tag_keys=tags) for k, text in COUNTERS.items()
        }
        self.tags = {"run": run}
        self.board = SummaryWriter(str(logs / "tensorboard"))

    def step(self, row: Mapping[str, Any]) -> None:
        """`row`: one line of metrics.jsonl."""
        values = dict(row) | {
            "pairs_per_second": row["pairs_trained"] / max(row["t_step"], 1e-9),
            "tokens_per_second": row["tokens_generated"] / max(row["t_generate"], 1e-9),
            "sync_seconds": row["t_sync"],
        }
        for key, gauge in self.gauges.items():
            if _finite(values.get(key)):
                gauge.set(float(values[key]), tags=self.tags)
        for key, counter in self.counters.items():
            if values[key] > 0:
                counter.inc(float(values[key]), tags=self.tags)
        for key, value in values.items():
            if _finite(value):
                self.board.add_scalar(key, float(value), int(row["step"]))
        self.board.flush()

    def evaluation(self, step: int, result: Mapping[str, Any]) -> None:
        for key, value in result.items():
            if _finite(value):
                self.board.add_scalar(f"eval/{key}", float(value), step)

    def close(self) -> None:
        self.board.close()


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
