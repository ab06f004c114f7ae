"""The cases of a step: a weighted sample that prefers those where the policy is likely to err."""

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
    groups: tuple[int, ...] | None = None,
) -> tuple[list[Case], int]:
    """`count` cases in the stream's order (`take`), and the position after the last one considered.

    Without weights they are those of `take`. With weights, `candidates` times as many are taken
    (at most one epoch, so that none repeats), and `count` of these are sampled without
    replacement: each draw picks a case with probability proportional to its weight.
    A pure function of its arguments.
    """
    if not targets.weights:
        taken = take(cases, position=position, count=count, seed=seed, groups=groups)
        return taken, position + count
    pool_size = max(count, min(candidates * count, len(cases)))
    pool = take(cases, position=position, count=pool_size, seed=seed, groups=groups)
    random = stream(seed, f"targeting/{position}")
    # Efraimidis-Spirakis weighted sampling without replacement: give each case an exponential key
    # whose rate is its weight, and keep the `count` smallest keys.
    weights = [targets.weight(case_types(case, targets.by)) for case in pool]
    keys = [-math.log(1.0 - random.random()) / weight for weight in weights]
    chosen = sorted(sorted(range(pool_size), key=keys.__getitem__)[:count])
    return [pool[i] for i in chosen], position + pool_size
