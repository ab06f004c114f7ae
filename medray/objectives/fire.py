"""`fire`: token-level DPO on the edited spans with lesion contrast and a KL anchor.

Source: FiRe-MPO, arXiv 2606.12590 (its KL term is added, as in the authors' code).

    r(v,y)  = β·Δ_M(y|v)
    rank    = −log σ(r(v,y+) − r(v,y−))
    visual  = −log σ(r(v',y−) − r(v',y+))          reversed under v'; 0 without v'
    kl      = Σ_{t∈M(y+)} λ·KL_fwd_t + (1−λ)·KL_rev_t
    loss    = rank + γ·visual + α·kl
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medray.objectives.base import (
    BETA,
    Branch,
    Hyperparameter,
    Metrics,
    Needs,
    Objective,
    Scores,
    log_ratio,
    masked_sum,
    preference_metrics,
    rewards,
    visual_loss,
)

# Each ablation of the visual term as (winner, loser): −log σ(r(winner) − r(loser)).
VISUAL: dict[str, tuple[Branch, Branch]] = {
    "reversed": ("corrupt/rejected", "corrupt/chosen"),
    "chosen_clean_vs_corrupt": ("clean/chosen", "corrupt/chosen"),
    "chosen_clean_vs_rejected_corrupt": ("clean/chosen", "corrupt/rejected"),
}


def fire(
    scores: Scores, *, beta: float, alpha: float, gamma: float, lambda_: float, visual: str
) -> tuple[Tensor, Metrics]:
    """Loss per pair [B]; metrics: its three parts, reward_margin and reward_accuracy."""
    chosen, rejected = rewards(scores, beta, "edit_mask")
    rank = -F.logsigmoid(chosen - rejected)
    contrast = torch.zeros_like(rank)
    if gamma > 0 and visual != "none":
        winner, loser = (beta * log_ratio(scores[b], "edit_mask") for b in VISUAL[visual])
        contrast = visual_loss(scores, winner - loser)
    kl = torch.zeros_like(rank)
    if alpha > 0:
        kl = _anchor(scores["clean/chosen"], lambda_)
    parts = {"loss_rank": rank, "loss_visual": contrast, "loss_kl": kl}
    metrics = preference_metrics(chosen, rejected, **parts)
    return rank + gamma * contrast + alpha * kl, metrics


def _anchor(branch: Mapping[str, Tensor], lambda_: float) -> Tensor:
    total = torch.zeros_like(branch["policy_logp"])
    if lambda_ > 0:
        total = total + lambda_ * branch["kl_fwd"]
    if lambda_ < 1:
        total = total + (1 - lambda_) * branch["kl_rev"]
    return masked_sum(total, branch["edit_mask"])


def needs(hyperparameters: Mapping[str, Any]) -> Needs:
    """Which branches and KL directions are read with these hyper-parameters."""
    branches: list[Branch] = ["clean/chosen", "clean/rejected"]
    if hyperparameters["gamma"] > 0 and hyperparameters["visual"] != "none":
        contrasted = VISUAL[hyperparameters["visual"]]
        branches += [b for b in ("corrupt/chosen", "corrupt/rejected") if b in contrasted]
    directions = []
    if hyperparameters["alpha"] > 0:
        directions += ["kl_fwd"] if hyperparameters["lambda"] > 0 else []
        directions += ["kl_rev"] if hyperparameters["lambda"] < 1 else []
    kl: dict[Branch, tuple[str, ...]] = {"clean/chosen": tuple(directions)} if directions else {}
    return Needs(branches=tuple(branches), positions="edited", kl=kl)


FIRE = Objective(
    name="fire",
    compute=fire,
    hyperparameters={
        "beta": BETA,
        "alpha": Hyperparameter(0.01),
        "gamma": Hyperparameter(0.1),
        "lambda": Hyperparameter(0.5, high=1.0),
        "visual": Hyperparameter("reversed", choices=("reversed", *list(VISUAL)[1:], "none")),
    },
    needs_for=needs,
)
