"""Importance weights: how much a pair counts if an older policy sampled its answer.

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
    """Weights [B] without gradient, and `clipped_ratios`' metrics [B], of scored pairs.

    The weight is 1 if a pair has no sampled log-probabilities, or the objective does not read
    its sampled side under the clean image.
    """
    clean = [scores[name] for name in ("clean/chosen", "clean/rejected") if name in scores]
    policy = torch.zeros_like(clean[0]["policy_logp"])
    behaviour, mask = torch.zeros_like(policy), torch.zeros_like(policy, dtype=torch.bool)
    for b, pair in enumerate(pairs):
        for name in ("chosen", "rejected"):
            sampled_logps, branch = pair.side(name).behaviour, scores.get(f"clean/{name}")
            if sampled_logps is None or branch is None:
                continue
            policy[b] = branch["policy_logp"][b].detach()
            # The array is read-only: copied.
            behaviour[b, : len(sampled_logps)] = torch.tensor(sampled_logps)
            mask[b] = branch[MASK_OF[needs.positions]][b]
    return clipped_ratios(policy, behaviour, mask, clip)


def clipped_ratios(
    policy_logp: Tensor, behaviour_logp: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean clipped ratio per pair [B], 1 if `mask` is empty; log-probabilities [B, T] in nats.

    Metrics, [B] each: importance_mean, that weight; importance_clipped, the share of positions
    at a bound; importance_log_ratio, mean |log ratio| before clipping, in nats.
    """
    log_ratio = torch.where(mask, policy_logp.detach() - behaviour_logp, 0.0)
    bound = math.log(clip)
    count = mask.sum(-1).clamp(min=1)
    ratios = torch.where(mask, log_ratio.clamp(-bound, bound).exp(), 0.0)
    weights = torch.where(mask.any(-1), ratios.sum(-1) / count, 1.0)
    return weights, {
        "importance_mean": weights,
        "importance_clipped": (log_ratio.abs() >= bound).sum(-1) / count,
        "importance_log_ratio": log_ratio.abs().sum(-1) / count,
    }
