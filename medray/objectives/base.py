"""The definition of an objective: a pure function of per-token tensors, and what it reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from medray.errors import ConfigError, DataError, RunFailed

Branch = Literal["clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected"]
Scores = Mapping[str, Any]  # branch → {tensor name → [B, T]}, and "relevance", "has_corrupt": [B]
Metrics = dict[str, Tensor]  # name → [B]
Positions = Literal["edited", "response"]

MASK_OF: dict[Positions, str] = {"edited": "edit_mask", "response": "response_mask"}


@dataclass(frozen=True, slots=True)
class Needs:
    """What packing and scoring must compute; nothing else is computed.

    `positions`: the tokens whose log-probabilities are read, on every branch.
    `kl`: per branch, which of kl_fwd / kl_rev are read, at `kl_positions`.
    `clean_fallback`: a pair without v' is scored on its clean image instead of a corrupted one.
    `chosen`: "edit" if y+ is the corrected answer, "reference" if it is the reference answer.
    `kto_baseline`: reads scores["z0"], the baseline over mismatched pairs (see `kto`).
    `masks`: masks read on every branch in addition to those of `positions` and `kl_positions`.
    """

    branches: tuple[Branch, ...]
    positions: Positions
    reference: bool = True
    kl: Mapping[Branch, tuple[str, ...]] = field(default_factory=dict)
    kl_positions: Positions = "edited"
    clean_fallback: bool = False
    chosen: Literal["edit", "reference"] = "edit"
    kto_baseline: bool = False
    masks: tuple[str, ...] = ()

    @property
    def corrupt(self) -> bool:
        """Whether any branch is on the corrupted image."""
        return any(branch.startswith("corrupt/") for branch in self.branches)

    def tensors(self, branch: Branch) -> tuple[str, ...]:
        """The names of the tensors read in scores[branch], masks included."""
        kl = self.kl.get(branch, ())
        masks = [
            MASK_OF[self.positions],
            *([MASK_OF[self.kl_positions]] if kl else []),
            *self.masks,
        ]
        reference = ("ref_logp",) if self.reference else ()
        return ("policy_logp", *reference, *kl, *dict.fromkeys(masks))


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A default, and the closed interval (or the choices) of allowed values."""

    default: float | str
    low: float = 0.0
    high: float = float("inf")
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> Any:
        """The value; ConfigError, with what is allowed, if it is wrong."""
        if self.choices:
            if value not in self.choices:
                allowed = ", ".join(self.choices)
                raise ConfigError(f"objective.{name} = {value!r}", "unknown", f"one of {allowed}")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"objective.{name} = {value!r}", "not a number", "give a number")
        if not (self.low <= value <= self.high and math.isfinite(value)):
            interval = f"[{self.low:g}, {self.high:g}]"
            raise ConfigError(f"objective.{name} = {value}", f"outside {interval}", "change it")
        return float(value)


SMALLEST = torch.finfo(torch.float32).tiny  # "greater than zero" as a closed interval
BETA = Hyperparameter(0.1, low=SMALLEST)


@dataclass(frozen=True, slots=True)
class Objective:
    """A named loss, its hyper-parameters and what it reads.

    `compute(scores, **hyperparameters) -> (loss [B], metrics {name: [B]})` is unweighted; calling
    the objective checks the scores, computes the loss, and multiplies it by the clinical relevance.
    """

    name: str
    compute: Callable[..., tuple[Tensor, Metrics]]
    hyperparameters: Mapping[str, Hyperparameter]
    needs_for: Callable[[Mapping[str, Any]], Needs]

    @property
    def needs(self) -> Needs:
        """The declaration at the default hyper-parameters."""
        return self.needs_for(self.resolve({}))

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults updated by `given`; ConfigError on an unknown name or a bad value."""
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
        """(loss [B] times relevance, metrics {name: [B]}); RunFailed or DataError by `check`."""
        hyperparameters = self.resolve(given)
        check(self.name, scores, self.needs_for(hyperparameters))
        arguments = {python_name(name): value for name, value in hyperparameters.items()}
        loss, metrics = self.compute(scores, **arguments)
        relevance = scores.get("relevance")
        return (loss if relevance is None else loss * relevance), metrics


def python_name(name: str) -> str:
    """`lambda` is a key of the YAML but a keyword of Python."""
    return name + "_" if name == "lambda" else name


def check(name: str, scores: Scores, needs: Needs) -> None:
    """RunFailed if a tensor that is read is missing, DataError if a pair has no token to read."""
    for branch in needs.branches:
        if branch not in scores:
            raise _missing(f"scores[{branch!r}]", name)
        for tensor in needs.tensors(branch):
            if tensor not in scores[branch]:
                raise _missing(f"scores[{branch!r}][{tensor!r}]", name)
    for branch in needs.branches:
        if needs.clean_fallback or branch.startswith("clean/"):  # else a pair may lack the branch
            has_token = scores[branch][MASK_OF[needs.positions]].bool().any(-1)
            if not bool(has_token.all()):
                row = int(has_token.logical_not().nonzero()[0])
                why = f"{name} reads {needs.positions} tokens and there are none"
                raise DataError(f"row {row} of scores[{branch!r}]", why, "drop the pair")


def _missing(what: str, name: str) -> RunFailed:
    return RunFailed(what, f"missing, and {name} reads it", "score what its needs declare")


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the tokens of [B, T] that `mask` selects, → [B]; the others may even be NaN."""
    return torch.where(mask.bool(), values, torch.zeros_like(values)).sum(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of [B, T] that `mask` selects, → [B]; `check` ensures there are any."""
    return masked_sum(values, mask) / mask.bool().sum(-1)


def log_ratio(branch: Mapping[str, Tensor], mask: str) -> Tensor:
    """Δ: Σ_t (log πθ − log πref) over the masked tokens of one branch, → [B]."""
    return masked_sum(branch["policy_logp"] - branch["ref_logp"], branch[mask])


def rewards(scores: Scores, beta: float, mask: str = "response_mask") -> tuple[Tensor, Tensor]:
    """β·Δ(y+|v) and β·Δ(y−|v) over the tokens of `mask`, [B] each."""
    chosen = beta * log_ratio(scores["clean/chosen"], mask)
    rejected = beta * log_ratio(scores["clean/rejected"], mask)
    return chosen, rejected


def mean_logp(branch: Mapping[str, Tensor]) -> Tensor:
    """mean(y) = (Σ_t log πθ) / |y| over the response, → [B]."""
    return masked_mean(branch["policy_logp"], branch["response_mask"])


def with_corrupt(scores: Scores, values: Tensor) -> Tensor:
    """`values` [B] if a pair has v', else 0; without has_corrupt every pair has v'."""
    has_corrupt = scores.get("has_corrupt")
    if has_corrupt is None:
        return values
    return torch.where(has_corrupt.bool(), values, torch.zeros_like(values))


def visual_loss(scores: Scores, margin: Tensor) -> Tensor:
    """−log σ(margin) [B] if a pair has v', else 0; without v' a margin may be NaN."""
    # Masked before and after: the gradient of a NaN that is not selected is still NaN.
    return with_corrupt(scores, -F.logsigmoid(with_corrupt(scores, margin)))


def preference_metrics(chosen_reward: Tensor, rejected_reward: Tensor, **parts: Tensor) -> Metrics:
    """`parts` of the loss, reward margin and reward accuracy per pair, all detached, [B]."""
    margin = (chosen_reward - rejected_reward).detach()
    metrics = {name: part.detach() for name, part in parts.items()}
    return metrics | {"reward_margin": margin, "reward_accuracy": (margin > 0).to(margin.dtype)}
