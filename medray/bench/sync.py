"""`medray bench sync`: the model that moves, the plain copy beside it, and what is told of both."""

from __future__ import annotations

import math
import platform
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import medray
from medray.config import LoraConfig, ModelConfig
from medray.errors import UserError
from medray.policy.export.weight_update import export_items, numel_bytes
from medray.policy.model.loading import resolve_model_path
from medray.policy.model.tuning import prepare_policy

BASE = "phantom/base"  # tokenizer, processor and vision tower are the shipped model's
WIDTH, SMALL_WIDTH = 2048, 256  # of the language model; the small one where little moves
HEAD = 64
LORA_RANK = 16
TRANSFER = ("export", "put", "pull", "verify", "copy")
ROWS = {
    "export": "export",
    "put": "put",
    "load": "vLLM's update",
    "seconds": "end to end",
    "pull": "pull",
    "verify": "verify",
    "copy": "copy",
    "transfer": "without vLLM",
    "memcpy_fresh": "plain copy, new memory",
    "memcpy_warm": "plain copy, used memory",
}
DEFINITIONS = {
    "model": "a random LLaVA: the shipped model's vision tower, a Mistral of the named width; its "
    "language layers, embeddings and head train and move in bfloat16",
    "sender": "an actor that holds the policy and gives it away by the learner's own code, without "
    "DeepSpeed's engine around it (its optimiser would need eight times the bytes)",
    "seconds": "from asking the sender until every generator has confirmed the version: export, "
    "put, and vLLM's update, which pulls and verifies one shard while it loads another",
    "first_seconds": "the very first update of all generators, into memory never touched before",
    "export": "the sender's method: arrays of every tensor and their checksums",
    "put": "its return until the caller can read: Ray copies the shards into the object store",
    "pull": "shards from the object store into view, by a receiver without vLLM, one by one",
    "verify": "the receiver's checksums",
    "load": "Generator.update as a whole, the slowest generator's: what vLLM takes, with whatever "
    "of pull and verify does not hide behind it",
    "transfer": "export, put, pull, verify and a copy into the receiver's own memory: all but vLLM",
    "memcpy_fresh": "one copy of all shards into memory allocated for it, as numpy allocates: the "
    "yardstick, because the object store and vLLM's layers take new memory as well",
    "memcpy_warm": "the same into memory that was written before",
    "full_rate_vs_memcpy": "memcpy_fresh over seconds of the same update, median of all updates",
    "transfer_rate_vs_memcpy": "memcpy_fresh over transfer, likewise",
    "logp_gap": "mean |log p(sender) - log p(generator)| per token after the last update, nats",
}


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What is measured. `gigabytes`: 10^9 bytes of weights, at least."""

    gigabytes: float = 1.0
    generators: int = 2
    repeats: int = 5

    def __post_init__(self) -> None:
        for name, value, least in (
            ("gigabytes", self.gigabytes, 0.001),
            ("generators", self.generators, 1),
            ("repeats", self.repeats, 1),
        ):
            if value < least:
                raise UserError(f"--{name} {value}", f"below {least}", f"give {least} or more")

    @property
    def command(self) -> str:
        return (
            f"medray bench sync --gigabytes {self.gigabytes:g} --generators {self.generators} "
            f"--repeats {self.repeats}"
        )


def write_lookalike(folder: Path, gigabytes: float) -> dict[str, int]:
    """A model directory with at least so many bytes in its language model; its shape."""
    from transformers import AutoConfig, LlavaForConditionalGeneration

    base = resolve_model_path(BASE)
    config = AutoConfig.from_pretrained(base, local_files_only=True)
    text = config.text_config
    width = WIDTH if gigabytes >= 0.5 else SMALL_WIDTH
    heads = width // HEAD
    text.hidden_size, text.intermediate_size, text.head_dim = width, 4 * width, HEAD
    text.num_attention_heads, text.num_key_value_heads = heads, heads // 4
    text.num_hidden_layers = layers_for(gigabytes, width)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = LlavaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    for file in base.iterdir():
        if file.suffix in (".json", ".jinja") and not (folder / file.name).exists():
            shutil.copy(file, folder / file.name)
    return {"width": width, "layers": text.num_hidden_layers}


def layers_for(gigabytes: float, width: int) -> int:
    """Layers of bfloat16 that hold the bytes: q, o, a quarter each of k and v, and the MLP."""
    layer = 2 * width * width * (2 + 2 / 4 + 3 * 4)
    return max(1, math.ceil(gigabytes * 1e9 / layer))


def adapter_bytes(folder: Path) -> int:
    """Bytes of an update of a LoRA adapter on all language layers of that model."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
        policy = prepare_policy(model, ModelConfig(lora=LoraConfig(rank=LORA_RANK)))
    return sum(numel_bytes(export_items(policy, "adapter"), torch.bfloat16))


class PlainCopies:
    """The yardstick: one copy of the arrays of an update, without anything around it."""

    def __init__(self) -> None:
        self.memory: list[np.ndarray] = []

    def times(self, arrays: Sequence[np.ndarray]) -> dict[str, float]:
        """Seconds of a copy into memory that is new, and into memory that is not."""
        self.memory = self.memory or [np.array(array, copy=True) for array in arrays]
        clock = [time.perf_counter()]
        for array in arrays:
            np.array(array, copy=True)
        clock.append(time.perf_counter())
        for target, array in zip(self.memory, arrays, strict=True):
            np.copyto(target, array)
        clock.append(time.perf_counter())
        return {"memcpy_fresh": clock[1] - clock[0], "memcpy_warm": clock[2] - clock[1]}


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(
    task: SyncSettings, facts: dict[str, Any], rounds: dict[int, list[dict[str, float]]]
) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values.

    `rounds`: number of generators → one update each: seconds of every stage, of the whole
    (`seconds`), of the receivers' `copy` and of the plain copies.
    """
    size = facts["full_bytes"]
    ways = {str(count): _way(turns, size) for count, turns in rounds.items()}
    one = ways["1"]
    return {
        "bench": "sync",
        "command": task.command,
        "versions": {
            "medray": medray.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "ray", "numpy", "xxhash")},
        },
        **facts,
        "repeats": task.repeats,
        "seconds": one["seconds"]["median"],
        **{name: value for name, value in one.items() if name.endswith(("_second", "memcpy"))},
        "generators": ways,
        "definitions": DEFINITIONS,
    }


def _way(turns: Sequence[dict[str, float]], size: int) -> dict[str, Any]:
    """Medians of so many generators, and of the ratios of each update to its own plain copy."""
    turns = [turn | {"transfer": sum(turn[part] for part in TRANSFER)} for turn in turns]
    told: dict[str, Any] = {name: spread([turn[name] for turn in turns]) for name in turns[0]}

    def ratio(plain: str, whole: str) -> float:
        return statistics.median(turn[plain] / turn[whole] for turn in turns)

    return told | {
        "gigabytes_per_second": size / 1e9 / told["seconds"]["median"],
        "full_rate_vs_memcpy": ratio("memcpy_fresh", "seconds"),
        "full_rate_vs_warm_memcpy": ratio("memcpy_warm", "seconds"),
        "transfer_rate_vs_memcpy": ratio("memcpy_fresh", "transfer"),
        "transfer_rate_vs_warm_memcpy": ratio("memcpy_warm", "transfer"),
    }


def show_sync(result: dict[str, Any]) -> None:
    """A table of stages, the ratios in words, and how to measure it again."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from medray.bench.learner.console import WIDTH as COLUMNS

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=COLUMNS)
    size = result["full_bytes"] / 1e9
    shape = ", ".join(f"{name} {value}" for name, value in result["shape"].items())
    console.print(
        f"full: {size:.2f} GB in {result['shards']} shards ({shape}); "
        f"adapter: {result['adapter_bytes'] / 1e6:.1f} MB"
    )
    table = Table("seconds", box=SIMPLE)
    for count in result["generators"]:
        table.add_column(f"{count} generator" + "s" * (count != "1"), justify="right")
    for name, title in ROWS.items():
        table.add_row(title, *[_range(way[name]) for way in result["generators"].values()])
    console.print(table)
    console.print(
        f"end to end {result['gigabytes_per_second']:.2f} GB/s: "
        f"{result['full_rate_vs_memcpy']:.0%} of a plain copy into new memory "
        f"({result['full_rate_vs_warm_memcpy']:.0%} into used memory); without vLLM "
        f"{result['transfer_rate_vs_memcpy']:.0%} ({result['transfer_rate_vs_warm_memcpy']:.0%})"
    )
    console.print(f"the first update took {result['first_seconds']:.2f} s")
    console.print(f"afterwards sender and generators differ by {result['logp_gap']:.1e} nats")
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    place = f"{result['device']}, {result['threads']} threads"
    console.print(f"{result['command']}  # {place}; {versions}", markup=False)


def _range(seconds: dict[str, float]) -> str:
    return f"{seconds['median']:.3g} ({seconds['min']:.3g}–{seconds['max']:.3g})"
