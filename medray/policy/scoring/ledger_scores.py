"""What the ledger records of a pair's scores: sums of log-probabilities, in nats, and of a few
pairs the log-ratio of every token.

An objective may read the edited tokens only. To show what became of the others too, of the few all
tokens of both sides are read, in the forward pass that trains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from medray.config import Config
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.score_pairs import SideRatios
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
) -> set[str]:
    """Ids of those of a rank's `own` pairs that are looked at. The step that trains `version` has
    `of_step` pairs on all ranks."""
    count = kept_of_step(of_step, version, config.loop.steps)
    few = draw(own, len(range(rank, count, config.learner.world_size)), config.run.seed)
    return {pair.pair_id for pair in few}


def token_ratios(pair: PackedPair, ratios: SideRatios) -> TokenRatios:
    """What is kept of log πθ/π₀ of every token of both sides of a pair."""
    chosen, rejected = ratios
    return TokenRatios(pair.pair_id, _shown(pair.chosen, chosen), _shown(pair.rejected, rejected))


def _shown(side: Side, ratios: Sequence[float]) -> tuple[TokenRatio, ...]:
    """To a hundredth of a nat: finer is noise of the arithmetic."""
    assert side.offsets is not None
    return tuple(
        TokenRatio(start, end, round(ratio, 2))
        for (start, end), ratio in zip(side.offsets.tolist(), ratios, strict=True)
    )
