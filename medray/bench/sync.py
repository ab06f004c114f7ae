"""`medray bench sync`: the model that is sent, the plain copy as yardstick, and the result."""

from __future__ import annotations

import math
import platform
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
from medray.bench import lookalike
from medray.config import LoraConfig, ModelConfig
from medray.errors import UserError
from medray.policy.export.weight_update import export_items, numel_bytes
from medray.policy.model.tuning import prepare_policy

WIDTH, SMALL_WIDTH = 2048, 256  # of the language model; the small one for few gigabytes
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
    "model": "a random LLaVA: the shipped model's vision tower, a Mistral of the given width; its "
    "language layers, embeddings and head are trained and sent in bfloat16",
    "sender": "an actor that holds the policy and exports it with the learner's own code, without "
    "DeepSpeed's engine around it (its optimiser would need eight times the bytes)",
    "seconds": "from the request to the sender until every generator has confirmed the version: "
    "export, put, and vLLM's update, which pulls and verifies one shard while it loads another",
    "first_seconds": "the very first update of all generators, into memory never touched before",
    "export": "the sender's method: arrays of all tensors and their checksums",
    "put": "from its return until the caller can read: Ray copies the shards into the object store",
    "pull": "mapping the shards from the object store, one by one, in a receiver without vLLM",
    "verify": "the receiver's checksums",
    "load": "the entire Generator.update of the slowest generator: vLLM's time, plus the part of "
    "pull and verify that does not overlap with it",
    "transfer": "export, put, pull, verify and a copy into the receiver's own memory: all but vLLM",
    "memcpy_fresh": "one copy of all shards into newly allocated memory, as numpy allocates it: "
    "the yardstick, because the object store and vLLM's layers use new memory as well",
    "memcpy_warm": "the same copy into memory that has been written before",
    "full_rate_vs_memcpy": "memcpy_fresh over seconds of the same update, median of all updates",
    "transfer_rate_vs_memcpy": "memcpy_fresh over transfer, likewise",
    "logp_gap": "mean |log p(sender) - log p(generator)| per token after the last update, nats",
}


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What to measure. `gigabytes`: the least amount of weights, in 10^9 bytes."""

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
    """Write a model directory with at least `gigabytes` in its language model; return its shape."""
    width = WIDTH if gigabytes >= 0.5 else SMALL_WIDTH
    layers = layers_for(gigabytes, width)
    lookalike.write_lookalike(folder, width, layers)
    return {"width": width, "layers": layers}


def layers_for(gigabytes: float, width: int) -> int:
    """Layers needed for these bytes in bfloat16: q, o, k and v at a quarter each, and the MLP."""
    layer = 2 * width * width * (2 + 2 / 4 + 3 * 4)
    return max(1, math.ceil(gigabytes * 1e9 / layer))


def adapter_bytes(folder: Path) -> int:
    """Bytes of one update of a LoRA adapter on all language layers of the model in `folder`."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
        policy = prepare_policy(model, ModelConfig(lora=LoraConfig(rank=LORA_RANK)))
    return sum(numel_bytes(export_items(policy, "adapter"), torch.bfloat16))


class PlainCopies:
    """The yardstick: one plain copy of the arrays of an update."""

    def __init__(self) -> None:
        self.memory: list[np.ndarray] = []

    def times(self, arrays: Sequence[np.ndarray]) -> dict[str, float]:
        """Seconds of a copy into new memory, and into memory that was used before."""
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
    settings: SyncSettings, facts: dict[str, Any], updates: dict[int, list[dict[str, float]]]
) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values.

    `updates`: number of generators → updates, each with the seconds of every stage, from end to
    end (`seconds`), of the receivers' `copy` and of the plain copies.
    """
    size = facts["full_bytes"]
    figures = {str(count): _figures(timings, size) for count, timings in updates.items()}
    one = figures["1"]
    return {
        "bench": "sync",
        "command": settings.command,
        "versions": {
            "medray": medray.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "ray", "numpy", "xxhash")},
        },
        **facts,
        "repeats": settings.repeats,
        "seconds": one["seconds"]["median"],
        **{name: value for name, value in one.items() if name.endswith(("_second", "memcpy"))},
        "generators": figures,
        "definitions": DEFINITIONS,
    }


def _figures(updates: Sequence[dict[str, float]], size: int) -> dict[str, Any]:
    """Medians for one number of generators, and of each update's ratio to its own plain copy."""
    updates = [update | {"transfer": sum(update[part] for part in TRANSFER)} for update in updates]
    figures: dict[str, Any] = {
        name: spread([update[name] for update in updates]) for name in updates[0]
    }

    def ratio(plain: str, measured: str) -> float:
        return statistics.median(update[plain] / update[measured] for update in updates)

    return figures | {
        "gigabytes_per_second": size / 1e9 / figures["seconds"]["median"],
        "full_rate_vs_memcpy": ratio("memcpy_fresh", "seconds"),
        "full_rate_vs_warm_memcpy": ratio("memcpy_warm", "seconds"),
        "transfer_rate_vs_memcpy": ratio("memcpy_fresh", "transfer"),
        "transfer_rate_vs_warm_memcpy": ratio("memcpy_warm", "transfer"),
    }


def show_sync(result: dict[str, Any]) -> None:
    """Print a table of stages, the ratios in words, and the command that measures it again."""
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
        table.add_row(title, *[_range(figures[name]) for figures in result["generators"].values()])
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
    machine = f"{result['device']}, {result['threads']} threads"
    console.print(f"{result['command']}  # {machine}; {versions}", markup=False)


def _range(seconds: dict[str, float]) -> str:
    return f"{seconds['median']:.3g} ({seconds['min']:.3g}–{seconds['max']:.3g})"
