"""Every series that a run exports: on Prometheus ray_medray_<name>."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "medray_"  # Ray puts ray_ before it


@dataclass(frozen=True, slots=True)
class Series:
    """`key`: where the value stands in a row of metrics; "" for what is not of a row.

    `start`: the value before there is another one. Boards show what no step and no evaluation has
    given yet only where ray_medray_step is above 0, ray_medray_evaluation_step at least 0.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    text: str
    key: str = ""
    labels: tuple[str, ...] = ()  # beside "run"
    start: float = 0.0

    @property
    def exported(self) -> tuple[str, ...]:
        """Names on Prometheus."""
        name = f"ray_{PREFIX}{self.name}"
        if self.kind == "histogram":
            return f"{name}_bucket", f"{name}_sum", f"{name}_count"
        return (name,)


def _gauge(name: str, text: str, *, key: str = "") -> Series:
    return Series(name, "gauge", text, key or name)


GAUGES = (
    _gauge("loss", "Mean loss per pair of the last step"),
    _gauge("reward_margin", "Mean reward of chosen minus rejected"),
    _gauge("reward_accuracy", "Share of pairs with a positive margin"),
    _gauge("logp_gap", "Mean |log p(learner) - log p(generator)| per golden token, in nats"),
    _gauge("grad_norm", "Gradient norm before clipping"),
    _gauge("learning_rate", "Learning rate of the step", key="lr"),
    _gauge("policy_version", "Policy version the step trained from"),
    _gauge("lag", "Versions by which the oldest answer was behind the learner", key="lag_max"),
    _gauge("answers_in_flight", "Answers of later steps that are in progress"),
    _gauge("pairs_per_second", "Trained pairs per second of the step"),
    _gauge("tokens_per_second", "Generated tokens per second of generation"),
    _gauge("sync_seconds", "Seconds of the weight update", key="t_sync"),
    _gauge("prefix_cache_hits", "Share of prompt tokens found in the engines' caches"),
    _gauge("image_cache_hits", "Share of images found in the engines' caches"),
    _gauge("step", "Last finished step"),
)
STATE = (
    Series("running", "gauge", "1 while the run goes on, 0 once it has ended"),
    Series("steps_planned", "gauge", "Steps of the complete run"),
    Series("last_step_timestamp_seconds", "gauge", "When the last step ended; at first the start"),
    Series("evaluation", "gauge", "A figure of the last evaluation", labels=("figure",)),
    Series("evaluation_step", "gauge", "Step of the last evaluation", start=-1.0),
)
COUNTERS = (
    Series("pairs_trained_total", "counter", "Pairs trained on", "pairs_trained"),
    Series(
        "pairs_dropped_total",
        "counter",
        "Pairs not trained on, and answers without a pair",
        "pairs_dropped",
    ),
    Series(
        "answers_trained_total",
        "counter",
        "Answers of which at least one pair was trained on",
        "answers_trained",
    ),
    Series(
        "answers_dropped_total",
        "counter",
        "Answers dropped, with a reason in the ledger",
        "answers_dropped",
    ),
    Series("tokens_generated_total", "counter", "Tokens sampled", "tokens_generated"),
    Series("steps_total", "counter", "Steps finished"),
    Series("steps_skipped_total", "counter", "Steps that changed no weights"),
)
DROPS = Series("drops_total", "counter", "Rows dropped, by reason", labels=("reason",))
RESTARTS = Series(
    "restarts_total", "counter", "Actors restarted, by kind and cause", labels=("kind", "cause")
)
STAGES = Series("stage_seconds", "histogram", "Seconds of each part of a step", labels=("stage",))
# stage → key of a row
STAGE_KEYS = {
    "generate": "t_generate",
    "edit": "t_edit",
    "learn": "t_learn",
    "sync": "t_sync",
    "step": "t_step",
}
BOUNDARIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
# Values of labels that are there from the start; other reasons and figures come as they occur.
FIGURES = ("report_exact", "closed_accuracy", "open_recall", "hallucination_rate", "finding_f1")
REASONS = (
    *("unfinished-answer", "empty-answer", "stale", "edit-too-large", "case-broke-actor"),
    *("abstained:not-comparable", "abstained:uncertain", "abstained:cannot-rewrite"),
    *("abstained:no-variant", "abstained:language", "non-finite-loss"),
)
KINDS = ("generator", "editor", "localiser", "learner")
CAUSES = ("died", "stuck", "broken", "drained")

SERIES = (*GAUGES, *STATE, *COUNTERS, DROPS, RESTARTS, STAGES)
