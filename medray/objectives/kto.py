"""`kto`: each answer is compared with a baseline, not with the other answer of its pair.

Source: KTO, arXiv 2402.01306. Per pair, with z0 = max(0, mean of Δ over mismatched pairs):

    loss = λ_D·(1 − σ(β(Δ(y+|v) − z0))) + λ_U·(1 − σ(β(z0 − Δ(y−|v))))

A mismatched pair is a chosen answer under the image and prompt of another pair. The mean is over
the batch of all ranks, so it is passed with the scores: scores["z0"], one number or [B].
"""

from __future__ import annotations

import torch
from torch import Tensor

from medray.objectives.base import (
    BETA,
    Hyperparameter,
    Metrics,
    Needs,
    Objective,
    Scores,
    preference_metrics,
    rewards,
)


def kto(scores: Scores, *, beta: float, lambda_d: float, lambda_u: float) -> tuple[Tensor, Metrics]:
    """Loss per pair [B]; z0 is detached, and 0 if not given."""
    chosen, rejected = rewards(scores, beta)
    baseline = torch.as_tensor(scores.get("z0", 0.0), dtype=chosen.dtype, device=chosen.device)
    baseline = beta * baseline.detach().clamp(min=0).expand_as(chosen)
    # 1 − σ(x) = σ(−x), which keeps its precision when σ(x) is near 1.
    desirable = torch.sigmoid(baseline - chosen)
    undesirable = torch.sigmoid(rejected - baseline)
    rank = lambda_d * desirable + lambda_u * undesirable
    return rank, preference_metrics(chosen, rejected, loss_rank=rank)


NEEDS = Needs(branches=("clean/chosen", "clean/rejected"), positions="response", kto_baseline=True)

KTO = Objective(
    "kto",
    kto,
    {"beta": BETA, "lambda_d": Hyperparameter(1.0), "lambda_u": Hyperparameter(1.0)},
    lambda _: NEEDS,
)
