"""How much a pair still counts when its answer was sampled by an older policy.

Per position that the objective reads on the sampled side, under the clean image:

    ratio_t = clip(πθ(y_t) / πb(y_t), 1/c, c)

and the pair's weight is their mean. πb is the policy that sampled y.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medray.objectives import Needs
from medray.objectives.base import MASK_OF
from medray.policy.packing import PackedPair


def importance_weights(
    pairs: Sequence[PackedPair], scores: Mapping[str, Any], needs: Needs, clip: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weights [B] without gradient, and `clipped_ratios`' metrics [B], of pairs as scored.

    A pair without sampled log-probabilities, or whose sampled side the objective does not read
    under the clean image, weighs 1.
    """
    read = [scores[name] for name in ("clean/chosen", "clean/rejected") if name in scores]
    policy = torch.zeros_like(read[0]["policy_logp"])
    behaviour, mask = torch.zeros_like(policy), torch.zeros_like(policy, dtype=torch.bool)
    for b, pair in enumerate(pairs):
        for name in ("chosen", "rejected"):
            told, branch = pair.side(name).behaviour, scores.get(f"clean/{name}")
            if told is None or branch is None:
                continue
            policy[b] = branch["policy_logp"][b].detach()
            behaviour[b, : len(told)] = torch.tensor(told)  # read-only: copied
            mask[b] = branch[MASK_OF[needs.positions]][b]
    return clipped_ratios(policy, behaviour, mask, clip)


def clipped_ratios(
    policy_logp: Tensor, behaviour_logp: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean clipped ratio per pair [B], 1 where `mask` is empty; log-probabilities [B, T] in nats.

    Metrics, [B] each: importance_mean, that weight; importance_clipped, the share of positions
    at a bound; importance_log_ratio, mean |log ratio| before clipping, in nats.
    """
    apart = torch.where(mask, policy_logp.detach() - behaviour_logp, 0.0)
    bound = math.log(clip)
    count = mask.sum(-1).clamp(min=1)
    ratios = torch.where(mask, apart.clamp(-bound, bound).exp(), 0.0)
    weights = torch.where(mask.any(-1), ratios.sum(-1) / count, 1.0)
    return weights, {
        "importance_mean": weights,
        "importance_clipped": (apart.abs() >= bound).sum(-1) / count,
        "importance_log_ratio": apart.abs().sum(-1) / count,
    }
