"""What the policy has changed about each token of a few pairs of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medray.policy.packing import PackedPair
from medray.policy.scoring.ledger_scores import draw, kept_of_step, token_ratios
from medray.records import TokenRatios

if TYPE_CHECKING:
    from actors.learner.actor import Learner


def few_by_token(
    learner: Learner,
    own: Sequence[PackedPair],
    of_step: int,
    spare: PackedPair,
    pixels: Mapping[str, np.ndarray],
) -> tuple[TokenRatios, ...]:
    """log π/π₀ of the tokens of some of a rank's `own` pairs, `of_step` of all ranks together.

    Before the update, in lockstep with the other ranks: one that has fewer pairs computes the
    `spare` one, and discards it. Nothing is kept if the objective has no reference.
    """
    if not learner.needs.reference:
        return ()
    config, world = learner.config, learner.world
    count = kept_of_step(of_step, learner.version, config.loop.steps)
    few = draw(own, len(range(learner.rank, count, world)), config.run.seed)
    rounds = math.ceil(count / (world * config.learner.micro_batch))
    learner.engine.eval()  # no dropout, whose random numbers are the training's
    found = token_ratios(
        few,
        rounds,
        spare,
        pixels,
        policy=learner.scorer,
        reference=learner.reference,
        call=learner.engine,
    )
    return tuple(found)
