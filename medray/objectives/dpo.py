"""`dpo` on all response tokens (arXiv 2305.18290) and `mask_dpo` on the edited ones only.

dpo      = −log σ(β[Δ(y+|v) − Δ(y−|v)])
mask_dpo = −log σ(β[Δ_M(y+|v) − Δ_M(y−|v)])
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from medray.objectives.base import (
    SMALLEST,
    Hyperparameter,
    Metrics,
    Needs,
    Objective,
    Scores,
    log_ratio,
    preference_metrics,
    weigh,
)


def dpo(scores: Scores, *, beta: float, mask: str) -> tuple[Tensor, Metrics]:
    """Loss per pair [B] over the tokens of `mask` (response_mask or edit_mask)."""
    chosen = beta * log_ratio(scores["clean/chosen"], mask)
    rejected = beta * log_ratio(scores["clean/rejected"], mask)
    rank = -F.logsigmoid(chosen - rejected)
    metrics = {"loss_rank": rank.detach()} | preference_metrics(chosen, rejected)
    return weigh(rank, scores), metrics


def _objective(name: str, positions: Literal["response", "edited"], mask: str) -> Objective:
    needs = Needs(branches=("clean/chosen", "clean/rejected"), positions=positions)
    return Objective(
        name=name,
        compute=partial(dpo, mask=mask),
        hyperparameters={"beta": Hyperparameter(0.1, low=SMALLEST)},
        needs_for=lambda hyper: needs,
    )


DPO = _objective("dpo", "response", "response_mask")
MASK_DPO = _objective("mask_dpo", "edited", "edit_mask")
