"""Objectives that compare the clean image v with the corrupted v', on all response tokens.

anchor = −log σ(β·Δ(y+|v) − δ)
copo   = −log σ(β[Δ(y+|v) − Δ(y+|v')])          0 if a pair has no v'
mdpo   = dpo + copo + anchor
mmedpo = −log σ(β[Δ(y+|v) − Δ(y−|v')])          v in place of v' if a pair has none
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
    log_ratio,
    preference_metrics,
    visual_loss,
    with_corrupt,
)
from medray.objectives.dpo import dpo


def copo(scores: Scores, *, beta: float) -> tuple[Tensor, Metrics]:
    """−log σ(β[Δ(y+|v) − Δ(y+|v')]); loss, margin and accuracy are 0 without v'.

    Source: the conditional term of mDPO, arXiv 2406.11839.
    """
    clean = beta * log_ratio(scores["clean/chosen"], "response_mask")
    corrupt = beta * log_ratio(scores["corrupt/chosen"], "response_mask")
    rank = visual_loss(scores, clean - corrupt)
    compared = (with_corrupt(scores, reward) for reward in (clean, corrupt))
    return rank, preference_metrics(*compared, loss_rank=rank)


def mdpo(scores: Scores, *, beta: float, delta: float) -> tuple[Tensor, Metrics]:
    """dpo + copo − log σ(β·Δ(y+|v) − δ). Source: mDPO, arXiv 2406.11839."""
    rank, metrics = dpo(scores, beta=beta)
    contrast, _ = copo(scores, beta=beta)
    anchor = -F.logsigmoid(beta * log_ratio(scores["clean/chosen"], "response_mask") - delta)
    parts = {"loss_visual": contrast.detach(), "loss_anchor": anchor.detach()}
    return rank + contrast + anchor, metrics | parts


def mmedpo(scores: Scores, *, beta: float) -> tuple[Tensor, Metrics]:
    """−log σ(β[Δ(y+|v) − Δ(y−|v')]), weighted by the clinical relevance like every objective.

    Source: MMedPO, arXiv 2412.06141. Without v' the branch is scored on the clean image.
    """
    chosen = beta * log_ratio(scores["clean/chosen"], "response_mask")
    rejected = beta * log_ratio(scores["corrupt/rejected"], "response_mask")
    rank = -F.logsigmoid(chosen - rejected)
    return rank, preference_metrics(chosen, rejected, loss_rank=rank)


NEEDS_OF_COPO = Needs(branches=("clean/chosen", "corrupt/chosen"), positions="response")
NEEDS_OF_MDPO = Needs(
    branches=("clean/chosen", "clean/rejected", "corrupt/chosen"), positions="response"
)
NEEDS_OF_MMEDPO = Needs(
    branches=("clean/chosen", "corrupt/rejected"), positions="response", clean_fallback=True
)

COPO = Objective("copo", copo, {"beta": BETA}, lambda _: NEEDS_OF_COPO)
MDPO = Objective(
    "mdpo",
    mdpo,
    {"beta": BETA, "delta": Hyperparameter(0.0, low=float("-inf"))},
    lambda _: NEEDS_OF_MDPO,
)
MMEDPO = Objective("mmedpo", mmedpo, {"beta": BETA}, lambda _: NEEDS_OF_MMEDPO)
