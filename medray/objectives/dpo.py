"""DPO on all tokens of both answers, and its variants with another link function or term.

h = Δ(y+|v) − Δ(y−|v), Δ summed over the response.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from medray.objectives.base import (
    BETA,
    Hyperparameter,
    Metrics,
    Needs,
    Objective,
    Scores,
    masked_mean,
    mean_logp,
    preference_metrics,
    rewards,
)


def dpo(scores: Scores, *, beta: float) -> tuple[Tensor, Metrics]:
    """−log σ(β·h). Source: DPO, arXiv 2305.18290."""
    chosen, rejected = rewards(scores, beta)
    rank = -F.logsigmoid(chosen - rejected)
    return rank, preference_metrics(chosen, rejected, loss_rank=rank)


def cdpo(scores: Scores, *, beta: float, epsilon: float) -> tuple[Tensor, Metrics]:
    """−(1−ε)·log σ(βh) − ε·log σ(−βh): a share ε of the preferences is assumed to be wrong.

    Source: conservative DPO, E. Mitchell, "A note on DPO with noisy preferences", 2023.
    """
    chosen, rejected = rewards(scores, beta)
    margin = chosen - rejected
    rank = -(1 - epsilon) * F.logsigmoid(margin) - epsilon * F.logsigmoid(-margin)
    return rank, preference_metrics(chosen, rejected, loss_rank=rank)


def ipo(scores: Scores, *, beta: float) -> tuple[Tensor, Metrics]:
    """(h̄ − 1/(2β))², h̄ from log-ratios averaged over each answer's tokens.

    Source: IPO, arXiv 2310.12036; the average per token follows TRL.
    """
    chosen, rejected = (
        masked_mean(branch["policy_logp"] - branch["ref_logp"], branch["response_mask"])
        for branch in (scores["clean/chosen"], scores["clean/rejected"])
    )
    rank = (chosen - rejected - 1 / (2 * beta)) ** 2
    return rank, preference_metrics(beta * chosen, beta * rejected, loss_rank=rank)


def irpo(scores: Scores, *, beta: float, alpha: float) -> tuple[Tensor, Metrics]:
    """dpo − α·mean(y+): DPO and the chosen answer's negative log-likelihood per token.

    Source: iterative RPO, arXiv 2404.19733.
    """
    rank, metrics = dpo(scores, beta=beta)
    nll = -mean_logp(scores["clean/chosen"])
    return rank + alpha * nll, metrics | {"loss_nll": nll.detach()}


NEEDS = Needs(branches=("clean/chosen", "clean/rejected"), positions="response")

DPO = Objective("dpo", dpo, {"beta": BETA}, lambda _: NEEDS)
CDPO = Objective(
    "cdpo", cdpo, {"beta": BETA, "epsilon": Hyperparameter(0.1, high=1.0)}, lambda _: NEEDS
)
IPO = Objective("ipo", ipo, {"beta": BETA}, lambda _: NEEDS)
IRPO = Objective("irpo", irpo, {"beta": BETA, "alpha": Hyperparameter(1.0)}, lambda _: NEEDS)
