"""One file per family of objectives; this dict is the only registry."""

from __future__ import annotations

from medray.errors import ConfigError
from medray.objectives.base import Hyperparameter, Metrics, Needs, Objective, Scores
from medray.objectives.dpo import DPO, MASK_DPO
from medray.objectives.fire import FIRE

OBJECTIVES: dict[str, Objective] = {o.name: o for o in (FIRE, DPO, MASK_DPO)}


def find_objective(name: str) -> Objective:
    """The objective of that name, or ConfigError with the names there are."""
    if name not in OBJECTIVES:
        raise ConfigError(
            f"objective.name = {name!r}", "unknown", f"one of {', '.join(OBJECTIVES)}"
        )
    return OBJECTIVES[name]


__all__ = [
    "OBJECTIVES",
    "Hyperparameter",
    "Metrics",
    "Needs",
    "Objective",
    "Scores",
    "find_objective",
]
