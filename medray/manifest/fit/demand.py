"""What each actor of a run takes of a node: the arithmetic of `actors.fleet.placement`.

A test holds both together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from medray.config import FOUND_REGIONS, Config
from medray.objectives import answers_needed, needs_of


@dataclass(frozen=True, slots=True)
class Demand:
    """Of `count` actors of a kind, each on one node."""

    kind: str
    count: int
    gpus: float = 0.0
    cpus: float = 0.0
    custom: dict[str, float] = field(default_factory=dict)

    @property
    def shape(self) -> dict[str, float]:
        """Of one actor, by resource."""
        amounts = {"GPU": self.gpus, "CPU": self.cpus, **self.custom}
        return {name: amount for name, amount in amounts.items() if amount}


def demands_of(config: Config, *, gpus: bool, generates: bool = True) -> list[Demand]:
    """On a cluster with or without GPUs. `generates`: whether anything is answered.

    Without GPUs only learners take CPUs: the others work while the learners wait.
    """
    learner, generator, editor = config.learner, config.generator, config.editor
    shared = generator.colocated and gpus
    ranks = Counter(learner.resources)
    if shared:
        ranks.update(generator.resources)
    cpu = 1.0 if gpus else 0.0
    engines = 0 if shared or not generates else generator.replicas
    localisers = config.localiser.replicas if _localises(config) else 0
    found = [
        Demand("Learner", learner.world_size, cpu, 2.0 if shared else 1.0, dict(ranks)),
        Demand(
            "Generator",
            engines,
            float(generator.tensor_parallel) if gpus else 0.0,
            cpu,
            generator.resources,
        ),
        Demand("LanguageModel", len(editor.served), cpu, cpu, generator.resources),
        Demand("Editor", editor.replicas, 0.0, cpu, editor.resources),
        Demand(
            "Localiser",
            localisers,
            config.localiser.gpus if gpus else 0.0,
            cpu,
            config.localiser.resources,
        ),
    ]
    return [demand for demand in found if demand.count]


def _localises(config: Config) -> bool:
    reads = needs_of(config.objective).corrupt and answers_needed(config)
    return reads and config.corruption.region in FOUND_REGIONS
