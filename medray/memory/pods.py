"""Memory of one pod, or one machine, that holds some of a run's actors."""

from __future__ import annotations

from medray.config import Config
from medray.memory.needs import RESERVE, Parts, host_needs, learner_needs
from medray.memory.sizes import sizes_of
from medray.objectives import needs_of
from medray.policy.model.inspection import tuned_skeleton
from medray.policy.model.loading import ModelFacts

PROCESS = 2**30  # libraries of an actor, beside its model


def pod_needs(
    config: Config, facts: ModelFacts, prompt_tokens: int, *, ranks: int, engines: int, gpus: bool
) -> Parts:
    """Bytes by what takes them. Without GPUs, what a rank would keep on one is here too."""
    policy = tuned_skeleton(facts, config.model)
    sizes = sizes_of(policy, checkpointing=config.learner.gradient_checkpointing)
    parts = host_needs(config, sizes, ranks, engines)
    parts["libraries"] = (ranks + engines) * PROCESS
    if not gpus:
        needs = needs_of(config.objective)
        rank = learner_needs(config, sizes, needs, prompt_tokens)
        parts["training"] = ranks * (sum(rank.values()) - RESERVE)
    return parts
