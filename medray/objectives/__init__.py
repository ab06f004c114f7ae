"""One file per family of objectives; this dict is the only registry."""

from __future__ import annotations

from medray.config import Config, ObjectiveConfig
from medray.errors import ConfigError
from medray.objectives.base import Hyperparameter, Metrics, Needs, Objective, Scores
from medray.objectives.dpo import CDPO, DPO, IPO, IRPO
from medray.objectives.fire import FIRE
from medray.objectives.kto import KTO
from medray.objectives.reference_free import ORPO, SFT, SIMPO
from medray.objectives.token import DDPO, MASK_DPO, RRPO, TDPO1, TDPO2
from medray.objectives.visual import COPO, MDPO, MMEDPO

OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        *(FIRE, SFT),
        *(DPO, CDPO, IPO, IRPO),
        *(SIMPO, ORPO),
        KTO,
        *(TDPO1, TDPO2, DDPO, MASK_DPO, RRPO),
        *(COPO, MDPO, MMEDPO),
    )
}


def find_objective(name: str) -> Objective:
    """The objective of that name; ConfigError with the known names if there is none."""
    if name not in OBJECTIVES:
        raise ConfigError(
            f"objective.name = {name!r}", "unknown", f"one of {', '.join(OBJECTIVES)}"
        )
    return OBJECTIVES[name]


def needs_of(config: ObjectiveConfig) -> Needs:
    """What the configured objective reads; ConfigError on a wrong name or hyper-parameter."""
    objective = find_objective(config.name)
    return objective.needs_for(objective.resolve(config.hyperparameters))


def answers_needed(config: Config) -> bool:
    """Whether training needs answers of the policy: not if the dataset consists of pairs, or if the
    objective imitates the references. ConfigError as by `needs_of`."""
    return config.data.kind != "pairs" and needs_of(config.objective).chosen == "edit"


__all__ = [
    "OBJECTIVES",
    "Hyperparameter",
    "Metrics",
    "Needs",
    "Objective",
    "Scores",
    "answers_needed",
    "find_objective",
    "needs_of",
]
