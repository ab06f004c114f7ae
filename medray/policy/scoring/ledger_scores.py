"""What the ledger records of a pair's scores: sums of log-probabilities, in nats, and of a few
pairs the log-ratio of every token.

An objective may read the edited tokens only. To show what became of the others too, the few are
read once more: all tokens of both sides, by policy and reference, without gradient or dropout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medray.config import Config
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.forest import Branch
from medray.policy.scoring.score_pairs import Call, Pixels, Reference, read_branches
from medray.policy.scoring.scorer import Scorer
from medray.records import PairScore, TokenRatio, TokenRatios
from medray.seeds import sort_key

KEPT_OF_A_RUN = 1600  # pairs with a log-ratio per token: as many as a report shows
KEPT_OF_A_STEP = 4
ONE_IN = 8  # of the pairs of a step at most, or one


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


def kept_of_step(pairs: int, version: int, steps: int) -> int:
    """How many of a step's pairs are looked at token by token; of very many `steps` only every so
    many have any, so that a run of any length has KEPT_OF_A_RUN at most."""
    if (version + 1) % math.ceil(steps * KEPT_OF_A_STEP / KEPT_OF_A_RUN):
        return 0
    return min(KEPT_OF_A_STEP, max(1, pairs // ONE_IN))


def draw(pairs: Sequence[PackedPair], count: int, seed: int) -> list[PackedPair]:
    """So many of the pairs, by their ids; none of those whose tokens are not aligned."""
    aligned = [p for p in pairs if p.chosen.offsets is not None and p.rejected.offsets is not None]
    return sorted(aligned, key=lambda pair: sort_key(seed, pair.pair_id))[:count]


def few_of_step(
    own: Sequence[PackedPair], of_step: int, config: Config, rank: int, version: int
) -> tuple[list[PackedPair], int]:
    """Those of a rank's `own` pairs that are looked at, and in how many forward passes: as many as
    on the other ranks. The step that trains `version` has `of_step` pairs on all of them."""
    world, micro_batch = config.learner.world_size, config.learner.micro_batch
    count = kept_of_step(of_step, version, config.loop.steps)
    few = draw(own, len(range(rank, count, world)), config.run.seed)
    return few, math.ceil(count / (world * micro_batch))


def token_ratios(
    pairs: Sequence[PackedPair],
    rounds: int,
    spare: PackedPair,
    pixels: Pixels,
    *,
    policy: Scorer,
    reference: Reference,
    call: Call | None = None,
) -> list[TokenRatios]:
    """log πθ/π₀ of every token of both sides of the pairs on the clean image, without gradient.

    In so many forward passes, as other ranks do: one with no pair left computes the `spare` one,
    and discards it. `call`: as in `score_pairs`.
    """
    found = []
    for part in np.array_split(np.arange(len(pairs)), rounds) if rounds else ():
        own = [pairs[i] for i in part]
        sides = [(pair, side) for pair in own or [spare] for side in (pair.chosen, pair.rejected)]
        branches = []
        for pair, side in sides:
            every = np.ones(len(side.ids), dtype=bool)
            branches.append(Branch(pair.context_ids, pair.image_keys, side.ids, every, ~every))
        with torch.no_grad():
            index, values = read_branches(
                branches, pixels, policy=policy, reference=reference, call=call
            )
        ratios = (values["policy_logp"] - values["ref_logp"]).float().cpu().tolist()
        by_side = [[math.nan] * len(side.ids) for _, side in sides]
        for ratio, branch, step in zip(ratios, index.logp_branches, index.logp_steps, strict=True):
            by_side[branch][step] = ratio
        found += [
            TokenRatios(pair.pair_id, _shown(pair.chosen, chosen), _shown(pair.rejected, rejected))
            for pair, chosen, rejected in zip(own, by_side[::2], by_side[1::2], strict=False)
        ]
    return found


def _shown(side: Side, ratios: Sequence[float]) -> tuple[TokenRatio, ...]:
    """To a hundredth of a nat: finer is noise of the arithmetic."""
    assert side.offsets is not None
    return tuple(
        TokenRatio(start, end, round(ratio, 2))
        for (start, end), ratio in zip(side.offsets.tolist(), ratios, strict=True)
    )
