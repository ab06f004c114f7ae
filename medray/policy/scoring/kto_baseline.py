"""The baseline z0 of `kto`: how far the policy drifts on answers to other questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medray.policy.packing import PackedPair
from medray.policy.scoring.forest import Branch
from medray.policy.scoring.score_pairs import Call, Pixels, Reference, read_branches
from medray.policy.scoring.scorer import Scorer

MismatchedPair = tuple[PackedPair, PackedPair]  # whose answer, under whose images and prompt


def mismatched_pairs(pairs: Sequence[PackedPair]) -> list[MismatchedPair]:
    """Every pair with the next one (wrapping around) that has other images or another prompt."""
    mismatched = []
    for i, own in enumerate(pairs):
        others = (p for p in (*pairs[i + 1 :], *pairs[:i]) if _key(p) != _key(own))
        if (other := next(others, None)) is not None:
            mismatched.append((own, other))
    return mismatched


def log_ratios(
    mismatched: Sequence[MismatchedPair],
    pixels: Pixels,
    *,
    policy: Scorer,
    reference: Reference,
    call: Call | None = None,
) -> list[float]:
    """Δ of the first pair's y+ under the second's images and prompt, without gradient."""
    branches = []
    for own, other in mismatched:
        all_tokens = np.ones(len(own.chosen.ids), dtype=bool)
        prompt_ids = np.concatenate([other.prompt_ids, own.prefix_ids])
        branches.append(
            Branch(prompt_ids, other.image_keys, own.chosen.ids, all_tokens, ~all_tokens)
        )
    with torch.no_grad():
        read_index, values = read_branches(
            branches, pixels, policy=policy, reference=reference, call=call
        )
    token_ratios = (values["policy_logp"] - values["ref_logp"]).double().cpu()
    sums = torch.zeros(len(branches), dtype=torch.float64)
    return sums.index_add(0, torch.from_numpy(read_index.logp_branches), token_ratios).tolist()


def _key(pair: PackedPair) -> tuple[tuple[str, ...], bytes]:
    return pair.image_keys, pair.prompt_ids.tobytes()
