"""Objectives that treat the tokens of an answer differently: by their KL, or if edited.

h = Δ(y+|v) − Δ(y−|v) over the response, D(y) = Σ_t KL_fwd_t over the response,
Δ_M over the edited tokens only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medray.objectives.base import (
    BETA,
    SMALLEST,
    Branch,
    Hyperparameter,
    Metrics,
    Needs,
    Objective,
    Scores,
    masked_sum,
    preference_metrics,
    rewards,
)
from medray.objectives.dpo import dpo

PAIR: tuple[Branch, Branch] = ("clean/chosen", "clean/rejected")


def tdpo1(scores: Scores, *, beta: float) -> tuple[Tensor, Metrics]:
    """−log σ(β[h − (D(y−) − D(y+))]). Source: TDPO, arXiv 2404.11999, its first form."""
    chosen_kl, rejected_kl = (_response_kl(scores, branch) for branch in PAIR)
    chosen, rejected = rewards(scores, beta)
    rank = -F.logsigmoid(chosen - rejected - beta * (rejected_kl - chosen_kl))
    parts = {"loss_rank": rank, "kl_chosen": chosen_kl, "kl_rejected": rejected_kl}
    return rank, preference_metrics(chosen, rejected, **parts)


def tdpo2(scores: Scores, *, beta: float, alpha: float) -> tuple[Tensor, Metrics]:
    """−log σ(β[h − α·(D(y−) − sg D(y+))]), sg: no gradient; α = 0 is dpo and reads no KL.

    Source: TDPO, arXiv 2404.11999, its second form.
    """
    if alpha == 0:
        return dpo(scores, beta=beta)
    chosen_kl, rejected_kl = (_response_kl(scores, branch) for branch in PAIR)
    chosen, rejected = rewards(scores, beta)
    kl_margin = beta * alpha * (rejected_kl - chosen_kl.detach())
    rank = -F.logsigmoid(chosen - rejected - kl_margin)
    parts = {"loss_rank": rank, "kl_chosen": chosen_kl, "kl_rejected": rejected_kl}
    return rank, preference_metrics(chosen, rejected, **parts)


def ddpo(scores: Scores, *, beta: float, gamma_w: float, normalise: str) -> tuple[Tensor, Metrics]:
    """dpo with Δ = Σ_t w_t·(log πθ − log πref), w = γ_w on edited tokens and 1 elsewhere.

    `normalise`: "weights" divides each Δ by its Σ_t w_t. Source: RLHF-V, arXiv 2312.00849;
    γ_w as in the code of RLAIF-V.
    """
    chosen, rejected = (
        beta * _weighted_ratio(scores[branch], gamma_w, normalise) for branch in PAIR
    )
    rank = -F.logsigmoid(chosen - rejected)
    return rank, preference_metrics(chosen, rejected, loss_rank=rank)


def mask_dpo(scores: Scores, *, beta: float) -> tuple[Tensor, Metrics]:
    """−log σ(β[Δ_M(y+) − Δ_M(y−)]). Source: `fire` (arXiv 2606.12590) with γ = α = 0."""
    chosen, rejected = rewards(scores, beta, "edit_mask")
    rank = -F.logsigmoid(chosen - rejected)
    return rank, preference_metrics(chosen, rejected, loss_rank=rank)


def rrpo(scores: Scores, *, beta: float, alpha: float) -> tuple[Tensor, Metrics]:
    """mask_dpo + α·D(y+), the KL over the entire chosen answer; α = 0 reads no KL.

    Source: RRPO, arXiv 2504.12083.
    """
    rank, metrics = mask_dpo(scores, beta=beta)
    kl = _response_kl(scores, "clean/chosen") if alpha > 0 else torch.zeros_like(rank)
    return rank + alpha * kl, metrics | {"loss_kl": kl.detach()}


def _response_kl(scores: Scores, branch: Branch) -> Tensor:
    """D(y) [B]."""
    return masked_sum(scores[branch]["kl_fwd"], scores[branch]["response_mask"])


def _weighted_ratio(branch: Mapping[str, Tensor], gamma_w: float, normalise: str) -> Tensor:
    ratio = branch["policy_logp"] - branch["ref_logp"]
    edited, one = branch["edit_mask"].bool(), torch.ones_like(ratio)
    weight = torch.where(edited, gamma_w * one, one)
    total = masked_sum(weight * ratio, branch["response_mask"])
    if normalise == "none":
        return total
    return total / masked_sum(weight, branch["response_mask"])


RESPONSE = Needs(branches=PAIR, positions="response")
WITH_KL = Needs(
    branches=PAIR,
    positions="response",
    kl=dict.fromkeys(PAIR, ("kl_fwd",)),
    kl_positions="response",
)
WEIGHTED = Needs(branches=PAIR, positions="response", masks=("edit_mask",))
EDITED = Needs(branches=PAIR, positions="edited")
EDITED_WITH_KL = Needs(
    branches=PAIR, positions="edited", kl={"clean/chosen": ("kl_fwd",)}, kl_positions="response"
)


def _needs_of_tdpo2(hyperparameters: Mapping[str, Any]) -> Needs:
    return WITH_KL if hyperparameters["alpha"] > 0 else RESPONSE


def _needs_of_rrpo(hyperparameters: Mapping[str, Any]) -> Needs:
    return EDITED_WITH_KL if hyperparameters["alpha"] > 0 else EDITED


TDPO1 = Objective("tdpo1", tdpo1, {"beta": BETA}, lambda _: WITH_KL)
TDPO2 = Objective("tdpo2", tdpo2, {"beta": BETA, "alpha": Hyperparameter(0.5)}, _needs_of_tdpo2)
DDPO = Objective(
    "ddpo",
    ddpo,
    {
        "beta": BETA,
        "gamma_w": Hyperparameter(3.0, low=SMALLEST),
        "normalise": Hyperparameter("none", choices=("none", "weights")),
    },
    lambda _: WEIGHTED,
)
MASK_DPO = Objective("mask_dpo", mask_dpo, {"beta": BETA}, lambda _: EDITED)
RRPO = Objective("rrpo", rrpo, {"beta": BETA, "alpha": Hyperparameter(0.01)}, _needs_of_rrpo)
