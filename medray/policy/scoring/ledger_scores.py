"""What the ledger records of a pair's scores: sums of log-probabilities, in nats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from medray.policy.packing import PackedPair
from medray.records import PairScore


def pair_scores(
    pairs: Sequence[PackedPair], scores: Mapping[str, Any], loss: Tensor
) -> list[PairScore]:
    """One record per pair, from the `scores` that an objective reads and from its loss [B]."""
    columns = zip(
        (pair.pair_id for pair in pairs),
        loss.detach().tolist(),
        _total(scores, "clean/chosen", "policy_logp", len(pairs)),
        _total(scores, "clean/rejected", "policy_logp", len(pairs)),
        _total(scores, "clean/chosen", "ref_logp", len(pairs)),
        _total(scores, "clean/rejected", "ref_logp", len(pairs)),
        visual_contrast(scores, len(pairs)),
        (pair.relevance for pair in pairs),
        strict=True,
    )
    return [PairScore(*column) for column in columns]


def visual_contrast(scores: Mapping[str, Any], pairs: int) -> list[float]:
    """How much less likely the chosen side's edited tokens are without the lesion.

    Σ_{t∈M(y+)} log πθ(y+_t | v) − log πθ(y+_t | v'); NaN if a pair has no v', or the objective
    does not read y+ under it. Near zero: the policy did not look at what was corrupted.
    """
    clean, corrupt = scores.get("clean/chosen"), scores.get("corrupt/chosen")
    if clean is None or corrupt is None:
        return [math.nan] * pairs
    drop = (clean["policy_logp"] - corrupt["policy_logp"]) * clean["edit_mask"]
    sums = drop.detach().sum(-1).tolist()
    has_corrupt = scores["has_corrupt"].tolist()
    return [value if has else math.nan for value, has in zip(sums, has_corrupt, strict=True)]


def _total(scores: Mapping[str, Any], branch: str, name: str, pairs: int) -> list[float]:
    """Sum over the tokens that the objective reads; NaN if it reads none of them."""
    values = scores.get(branch, {}).get(name)
    return [math.nan] * pairs if values is None else values.detach().sum(-1).tolist()
