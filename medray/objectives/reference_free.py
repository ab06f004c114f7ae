"""Objectives that read no reference policy; mean(y) = (Σ_t log πθ) / |y| over the response."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medray.objectives.base import (
    SMALLEST,
    Hyperparameter,
    Metrics,
    Needs,
    Objective,
    Scores,
    mean_logp,
    preference_metrics,
)


def sft(scores: Scores) -> tuple[Tensor, Metrics]:
    """−mean(y+), y+ the reference answer: supervised fine-tuning, the usual baseline."""
    nll = -mean_logp(scores["clean/chosen"])
    return nll, {"loss_nll": nll.detach()}


def simpo(scores: Scores, *, beta: float, gamma: float) -> tuple[Tensor, Metrics]:
    """−log σ(β·(mean(y+) − mean(y−)) − γ); the reward is β·mean(y).

    Source: SimPO, arXiv 2405.14734.
    """
    chosen = beta * mean_logp(scores["clean/chosen"])
    rejected = beta * mean_logp(scores["clean/rejected"])
    rank = -F.logsigmoid(chosen - rejected - gamma)
    return rank, preference_metrics(chosen, rejected, loss_rank=rank)


def orpo(scores: Scores, *, lambda_: float) -> tuple[Tensor, Metrics]:
    """−mean(y+) − λ·log σ(logodds(y+) − logodds(y−)); the reward is logodds(y).

    logodds(y) = mean(y) − log(1 − e^{mean(y)}). Source: ORPO, arXiv 2403.07691.
    """
    nll = -mean_logp(scores["clean/chosen"])
    chosen, rejected = log_odds(-nll), log_odds(mean_logp(scores["clean/rejected"]))
    rank = -F.logsigmoid(chosen - rejected)
    metrics = preference_metrics(chosen, rejected, loss_rank=rank, loss_nll=nll)
    return nll + lambda_ * rank, metrics


def log_odds(logp: Tensor) -> Tensor:
    """x − log(1 − e^x) of x = log p [B]; p is kept below 1 by the machine epsilon."""
    # At p = 1 the odds are infinite, and the difference of two infinities is NaN.
    logp = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    return logp - torch.log(-torch.expm1(logp))  # computing 1 − e^x loses all digits near x = 0


BOTH_SIDES = Needs(
    branches=("clean/chosen", "clean/rejected"), positions="response", reference=False
)
REFERENCE_ANSWER = Needs(
    branches=("clean/chosen",), positions="response", reference=False, chosen="reference"
)

SFT = Objective("sft", sft, {}, lambda _: REFERENCE_ANSWER)
SIMPO = Objective(
    "simpo",
    simpo,
    {"beta": Hyperparameter(2.0, low=SMALLEST), "gamma": Hyperparameter(1.0)},
    lambda _: BOTH_SIDES,
)
ORPO = Objective("orpo", orpo, {"lambda": Hyperparameter(0.1)}, lambda _: BOTH_SIDES)
