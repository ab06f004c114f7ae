"""What an objective is: a pure function of per-token tensors and a declaration of its needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from medray.errors import ConfigError

Branch = Literal["clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected"]
Scores = Mapping[str, Any]  # branch → {tensor name → [B, T]}, and "relevance", "has_corrupt": [B]
Metrics = dict[str, Tensor]  # name → [B]


@dataclass(frozen=True, slots=True)
class Needs:
    """What scoring must compute, and nothing beyond it.

    `positions`: "edited" where only edited tokens are read, else "response".
    `kl`: per branch, which of kl_fwd / kl_rev are read (at edited positions).
    """

    branches: tuple[Branch, ...]
    positions: Literal["edited", "response"]
    reference: bool = True
    kl: Mapping[Branch, tuple[str, ...]] = field(default_factory=dict)

    @property
    def corrupt(self) -> bool:
        return any(branch.startswith("corrupt/") for branch in self.branches)


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A default and the closed interval (or the choices) it must come from."""

    default: float | str
    low: float = 0.0
    high: float = float("inf")
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> Any:
        """The value, or ConfigError saying what is allowed."""
        if self.choices:
            if value not in self.choices:
                allowed = ", ".join(self.choices)
                raise ConfigError(f"objective.{name} = {value!r}", "unknown", f"one of {allowed}")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"objective.{name} = {value!r}", "not a number", "give a number")
        if not (self.low <= value <= self.high and math.isfinite(value)):
            interval = f"[{self.low:g}, {self.high:g}]"
            raise ConfigError(f"objective.{name} = {value}", f"outside {interval}", "correct it")
        return float(value)


SMALLEST = torch.finfo(torch.float32).tiny  # "greater than zero" as a closed interval


@dataclass(frozen=True, slots=True)
class Objective:
    """`compute(scores, **hyperparameters) -> (loss [B], metrics {name: [B]})`."""

    name: str
    compute: Callable[..., tuple[Tensor, Metrics]]
    hyperparameters: Mapping[str, Hyperparameter]
    needs_for: Callable[[Mapping[str, Any]], Needs]

    @property
    def needs(self) -> Needs:
        """The declaration at the default hyper-parameters."""
        return self.needs_for(self.resolve({}))

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults completed with `given`; ConfigError on an unknown name or a bad value."""
        unknown = sorted(set(given) - set(self.hyperparameters))
        if unknown:
            known = ", ".join(self.hyperparameters) or "none"
            raise ConfigError(
                f"objective.{unknown[0]}",
                f"{self.name} has no such hyper-parameter",
                f"it has: {known}",
            )
        return {
            name: rule.check(name, given.get(name, rule.default))
            for name, rule in self.hyperparameters.items()
        }

    def __call__(self, scores: Scores, **given: Any) -> tuple[Tensor, Metrics]:
        hyper = self.resolve(given)
        return self.compute(scores, **{python_name(name): v for name, v in hyper.items()})


def python_name(name: str) -> str:
    """`lambda` is a key of the YAML but a keyword of Python."""
    return name + "_" if name == "lambda" else name


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over [B, T] where mask, → [B]; what is masked may hold anything, NaN included."""
    return torch.where(mask.bool(), values, torch.zeros_like(values)).sum(-1)


def log_ratio(branch: Mapping[str, Tensor], mask_name: str) -> Tensor:
    """Δ: Σ_t (log πθ − log πref) over the masked tokens of one branch, → [B]."""
    return masked_sum(branch["policy_logp"] - branch["ref_logp"], branch[mask_name])


def weigh(loss: Tensor, scores: Scores) -> Tensor:
    """Multiply by the clinical relevance [B] where it is given."""
    relevance = scores.get("relevance")
    return loss if relevance is None else loss * relevance


def preference_metrics(chosen_reward: Tensor, rejected_reward: Tensor) -> Metrics:
    """Reward margin and accuracy per pair, detached, [B]."""
    margin = (chosen_reward - rejected_reward).detach()
    return {"reward_margin": margin, "reward_accuracy": (margin > 0).to(margin.dtype)}
