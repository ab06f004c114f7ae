"""The baseline z0 of `kto`: how far the policy drifts on answers to other questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medray.policy.packing import PackedPair
from medray.policy.scoring.forest import Branch
from medray.policy.scoring.score_pairs import Call, Pixels, Reference, read_branches
from medray.policy.scoring.scorer import Scorer

Match = tuple[PackedPair, PackedPair]  # whose answer, under whose image and prompt


def mismatches(pairs: Sequence[PackedPair]) -> list[Match]:
    """Every pair's answer with the next pair (around the end) on another image or prompt."""
    found = []
    for i, own in enumerate(pairs):
        others = (p for p in (*pairs[i + 1 :], *pairs[:i]) if _key(p) != _key(own))
        if (other := next(others, None)) is not None:
            found.append((own, other))
    return found


def log_ratios(
    matches: Sequence[Match],
    pixels: Pixels,
    *,
    policy: Scorer,
    reference: Reference,
    call: Call | None = None,
) -> list[float]:
    """Δ of the first's y+ under the second's image and prompt, without gradient."""
    branches = []
    for own, other in matches:
        every = np.ones(len(own.chosen.ids), dtype=bool)
        branches.append(Branch(other.prompt_ids, other.image_key, own.chosen.ids, every, ~every))
    with torch.no_grad():
        readings, values = read_branches(
            branches, pixels, policy=policy, reference=reference, call=call
        )
    apart = (values["policy_logp"] - values["ref_logp"]).double().cpu()
    sums = torch.zeros(len(branches), dtype=torch.float64)
    return sums.index_add(0, torch.from_numpy(readings.branches), apart).tolist()


def _key(pair: PackedPair) -> tuple[str, bytes]:
    return pair.image_key, pair.prompt_ids.tobytes()
