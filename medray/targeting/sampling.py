"""Which cases a step asks: of more than it needs, those on which the policy is likely to err."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medray.data.stream import take
from medray.records import Case
from medray.seeds import stream
from medray.targeting.classify_errors import case_types
from medray.targeting.error_targets import ErrorTargets


def draw(
    cases: Sequence[Case],
    *,
    position: int,
    count: int,
    seed: int,
    targets: ErrorTargets,
    candidates: int,
) -> tuple[list[Case], int]:
    """`count` cases, and the position in the stream behind all that were looked at.

    Without weights they are those of `take`. With weights, `candidates` times as many are taken
    (no more than an epoch has, which would repeat them), and of these each draw without
    replacement picks with a chance in proportion to the weight. They come in the stream's order.
    A pure function of its arguments.
    """
    if not targets.weights:
        return take(cases, position=position, count=count, seed=seed), position + count
    pool_size = max(count, min(candidates * count, len(cases)))
    pool = take(cases, position=position, count=pool_size, seed=seed)
    chance = stream(seed, f"targeting/{position}")
    # Who waits shortest is drawn: exponential times of these rates come in just that order.
    times = [-math.log(1.0 - chance.random()) / targets.weight(case_types(case)) for case in pool]
    chosen = sorted(sorted(range(pool_size), key=times.__getitem__)[:count])
    return [pool[i] for i in chosen], position + pool_size
