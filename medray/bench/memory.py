"""`medray bench memory`: the memory plan of `medray check`, and the cases it is held against."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

import medray
from medray.config import Config
from medray.errors import UserError
from medray.objectives import needs_of
from medray.policy.packing import PackedBatch, PackedPair, Side
from medray.policy.picture import Picture

WORDS = 60  # of a question
DEFINITIONS = {
    "model": "a random LLaVA: the shipped model's vision tower, a Mistral of the given width",
    "step": "the most at any time of a step; the micro-batches are as large as the plan assumes",
    "states": "behind it: weights, master weights, moments, a reference of its own; under ZeRO-3 "
    "also the memory of gradients",
    "update": "the arrays of one update of generators",
    "cache": "keys and values of one token, as a vLLM engine divides its memory among tokens",
    "measured": "of a process of its own, beyond the same process with a model of 3 MB. CPU: "
    "resident memory, with an allocator that gives back what is freed; GPU: what torch allocated",
    "ratio": "predicted over measured",
}


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """One learner to be measured: its settings beside those of all, and how its pairs lie."""

    name: str
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    on_one_image: bool = False


def _full(**learner: Any) -> dict[str, dict[str, Any]]:
    return {"model": {"lora": None}, "objective": {"name": "dpo"}, "learner": learner}


CASES = (
    MemoryCase("LoRA, fire"),
    MemoryCase("LoRA, fire, checkpointing", {"learner": {"gradient_checkpointing": True}}),
    MemoryCase(
        "LoRA, dpo, group_by: image",
        {"objective": {"name": "dpo"}, "loop": {"group_by": "image"}},
        on_one_image=True,
    ),
    MemoryCase("full, dpo", _full()),
    MemoryCase("full, dpo, ZeRO-3, two ranks", _full(world_size=2, zero_stage=3)),
)


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """What to measure. The model has `layers` of `width`; answers have `tokens`."""

    width: int = 512
    layers: int = 8
    vocabulary: int = 32_000
    micro_batch: int = 4
    tokens: int = 64
    dtype: str = "bfloat16"

    def __post_init__(self) -> None:
        for name, least in (("layers", 1), ("vocabulary", 512), ("micro_batch", 1), ("tokens", 2)):
            if getattr(self, name) < least:
                option = f"--{name.replace('_', '-')} {getattr(self, name)}"
                raise UserError(option, f"below {least}", f"give {least} or more")
        if self.width < 64 or self.width % 64:
            raise UserError(f"--width {self.width}", "no multiple of 64", "give one")
        if self.dtype not in ("bfloat16", "float32"):
            raise UserError(f"--dtype {self.dtype}", "unknown", "bfloat16 or float32")

    @property
    def command(self) -> str:
        return (
            f"medray bench memory --width {self.width} --layers {self.layers} "
            f"--vocabulary {self.vocabulary} --micro-batch {self.micro_batch} "
            f"--tokens {self.tokens} --dtype {self.dtype}"
        )

    def config(self, case: MemoryCase, model: str) -> Config:
        """The configuration of a case; `model`: a directory."""
        given = {name: dict(values) for name, values in case.settings.items()}
        learner = {"micro_batch": self.micro_batch} | given.get("learner", {})
        own = {"path": model, "dtype": self.dtype, "lora": {"rank": 16}} | given.get("model", {})
        return Config.model_validate(
            {
                "model": own,
                "data": {"kind": "phantom"},
                "generator": {"max_new_tokens": self.tokens},
                "objective": given.get("objective", {"name": "fire"}),
                "learner": learner,
                "loop": {"batch": self.micro_batch * 2, "sync": "full"} | given.get("loop", {}),
            }
        )


def largest_batch(
    config: Config, vocabulary: int, prompt: np.ndarray, picture: Picture, *, on_one_image: bool
) -> PackedBatch:
    """Pairs as large as the plan assumes: both sides have as many tokens as an answer may have,
    share none of them, and all are read. Two micro-batches for each rank, or eight if the pairs are
    `on_one_image`.

    prompt: ids [P] with the image's placeholders; picture: of the image.
    """
    chance = np.random.default_rng(0)
    learner, tokens = config.learner, config.generator.max_new_tokens
    count = learner.micro_batch * learner.world_size * (8 if on_one_image else 2)
    corrupted = any(name.startswith("corrupt/") for name in needs_of(config.objective).branches)

    def side() -> Side:
        return Side(chance.integers(8, vocabulary, tokens), np.ones(tokens, dtype=bool))

    pairs, pixels = [], dict[str, Picture]()
    for number in range(count):
        keys = ("x",) if on_one_image else (f"x{number}",)
        others = (f"v{number}",) if corrupted else ()
        pixels |= dict.fromkeys((*keys, *others), picture)
        pairs.append(PackedPair(f"{number:03}", prompt, side(), side(), keys, others, 1.0))
    return PackedBatch(tuple(pairs), pixels)


def row(case: str, part: str, predicted: float, measured: float) -> dict[str, Any]:
    """One line of the result, in bytes."""
    ratio = predicted / measured if measured else float("inf")
    return {
        "case": case,
        "part": part,
        "predicted": int(predicted),
        "measured": int(measured),
        "ratio": ratio,
    }


def summarise(
    task: MemorySettings, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    names = ("torch", "transformers", "peft", "deepspeed", "ray")
    return {
        "bench": "memory",
        "command": task.command,
        "versions": {
            "medray": medray.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in names},
        },
        **facts,
        "rows": [dict(each) for each in rows],
        "worst": max((abs(each["ratio"] - 1) for each in rows), default=0.0),
        "definitions": DEFINITIONS,
    }


def show_memory(result: Mapping[str, Any]) -> None:
    """Print the rows, and the command that measures them again."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from medray.bench.learner.console import WIDTH

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    table = Table("what", box=SIMPLE)
    for column in ("part", "predicted MB", "measured MB", "ratio"):
        table.add_column(column, justify="right")
    for each in result["rows"]:
        sizes = (f"{each[name] / 1e6:,.1f}" for name in ("predicted", "measured"))
        table.add_row(each["case"], each["part"], *sizes, f"{each['ratio']:.2f}")
    console.print(table)
    console.print(f"the worst is {result['worst']:.0%} off")
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{result['command']}  # {result['device']}; {versions}", markup=False)
