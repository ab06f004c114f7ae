"""The charts of a report, drawn from metrics.jsonl and the evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medray.report.charts import Chart, Point, chart
from medray.report.vocabulary import EVAL_METRICS, label

Metrics = Sequence[Mapping[str, Any]]
Evals = Mapping[int, Mapping[str, Any]]

_LOWER = "lower is better"
_RATE = "over the entire step, including learning and sync"


MAIN = ("report_exact", "closed_accuracy", "choice_accuracy", "open_recall", "finding_f1")


def evaluation_charts(evals: Evals) -> list[Chart]:
    """Results over steps; empty if there are fewer than two evaluations."""
    if len(evals) < 2:
        return []
    drawn = {label(key): _values(evals, key) for key in MAIN}
    rate = "hallucination_rate"
    charts = [
        chart("Answers", drawn, note="higher is better", low=0, high=1, percent=True),
        chart(label(rate), {label(rate): _values(evals, rate)}, note=_LOWER, low=0, percent=True),
    ]
    return [made for made in charts if made]


def overlaid_charts(runs: Mapping[str, Evals]) -> list[Chart]:
    """The main figures of several runs over steps, one chart per figure; runs by name."""
    charts = []
    for key in (*MAIN[:2], "hallucination_rate"):
        note = "higher is better" if EVAL_METRICS[key][1] else _LOWER
        lines = {name: _values(evals, key) for name, evals in runs.items()}
        charts.append(chart(label(key), lines, note=note, low=0, percent=True))
    return [made for made in charts if made]


def _values(evals: Evals, key: str) -> list[Point]:
    return [(step, result.get(key)) for step, result in evals.items()]


def training_charts(metrics: Metrics) -> list[Chart]:
    """Loss, rewards, gradient, agreement of the two engines, rates and times, if recorded."""
    losses = {"loss": "loss", "rank": "loss_rank", "visual": "loss_visual", "KL": "loss_kl"}
    phases = {"generate": "t_generate", "edit": "t_edit", "learn": "t_learn", "sync": "t_sync"}
    charts = [
        chart("Loss", _series(metrics, losses), note="mean over the pairs of a step"),
        chart(
            "Reward margin",
            _series(metrics, {"chosen − rejected": "reward_margin"}),
            note="implicit reward, chosen minus rejected",
        ),
        chart(
            "Reward accuracy",
            _series(metrics, {"accuracy": "reward_accuracy"}),
            note="share of pairs whose chosen answer has the higher reward",
            low=0,
            high=1,
            percent=True,
        ),
        chart(
            "Gradient norm", _series(metrics, {"norm": "grad_norm"}), note="before clipping", low=0
        ),
        chart(
            "Generator vs. learner",
            _series(metrics, {"log-probability gap": "logp_gap"}),
            note="nats per token, after each weight update",
            low=0,
        ),
        chart(
            "Answers and pairs",
            _series(
                metrics,
                {
                    "answers trained on": "answers_trained",
                    "answers dropped": "answers_dropped",
                    "pairs": "pairs_trained",
                },
            ),
            note="per step",
            low=0,
        ),
        chart("Pairs per second", _rate(metrics, "pairs_trained"), note=_RATE, low=0),
        chart("Tokens per second", _rate(metrics, "tokens_generated"), note=_RATE, low=0),
        chart(
            "Seconds per step",
            _series(metrics, {"step": "t_step", **phases}),
            note="in total and per stage",
            low=0,
        ),
    ]
    return [drawn for drawn in charts if drawn]


def _series(metrics: Metrics, keys: Mapping[str, str]) -> dict[str, list[Point]]:
    return {
        label: [(line["step"], line.get(key)) for line in metrics] for label, key in keys.items()
    }


def _rate(metrics: Metrics, key: str) -> dict[str, list[Point]]:
    rates = [(line["step"], _ratio(line.get(key), line.get("t_step"))) for line in metrics]
    return {key.replace("_", " "): rates}


def _ratio(count: float | None, seconds: float | None) -> float | None:
    return None if count is None or not seconds else count / seconds
