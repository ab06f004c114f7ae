"""One repeat of a side: forward passes, vision and reference included, and the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from medray.bench.naive import naive_scores
from medray.bench.workload import Workload
from medray.objectives import Objective
from medray.policy.scorer import Scorer
from medray.policy.scoring import AdaptersOff, score_pairs

Step = Callable[[], Tensor]  # the mean loss, after its backward pass


def our_step(scorer: Scorer, workload: Workload, objective: Objective) -> Step:
    """As the learner does it."""
    needs = objective.needs
    reference = AdaptersOff(scorer) if needs.reference else None

    def scores() -> dict[str, Any]:
        return score_pairs(
            workload.pairs, workload.pixels, needs, policy=scorer, reference=reference
        )

    return _step(scores, objective)


def naive_step(policy: Any, workload: Workload, objective: Objective) -> Step:
    """Every branch a sequence of its own, full logits."""

    def scores() -> dict[str, Any]:
        return naive_scores(policy, workload.pairs, workload.pixels, objective.needs)

    return _step(scores, objective)


def _step(scores: Callable[[], dict[str, Any]], objective: Objective) -> Step:
    def step() -> Tensor:
        loss, _ = objective(scores())
        mean = loss.mean()
        mean.backward()
        return mean.detach()

    return step
