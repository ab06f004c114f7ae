"""Ours beside one other side: ratios, and how far apart their results are."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from medray.bench.sides import Measured, Progress, measure
from medray.bench.task import Task


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides of one task; `gap` is the difference of their gradients, worst at `where`."""

    ours: Measured
    other: Measured
    gap: float
    where: str

    def figures(self, name: str) -> dict[str, float | str]:
        """The result's keys for a comparison with `name`."""
        ours, other = self.ours.last, self.other.last
        norm = other["gradient_norm"]
        figures = {
            f"speedup_vs_{name}": self.other.seconds / self.ours.seconds,
            f"memory_vs_{name}": self.ours.peak_bytes / self.other.peak_bytes,
            "loss_difference": abs(ours["loss"] - other["loss"]),
            "gradient_difference": self.gap,
            "gradient_difference_at": self.where,
            "gradient_norm_difference": abs(ours["gradient_norm"] - norm) / norm if norm else 0.0,
        }
        if name == "naive":
            return figures
        return {k if k.endswith(name) else f"{k}_vs_{name}": v for k, v in figures.items()}


def compare(task: Task, other: str, progress: Progress) -> Comparison:
    """Ours and `other` in turns; gradients and logs are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="medray-bench-") as folder:
        sides = measure(("ours", other), task, Path(folder), progress)
        gap, where = gradient_difference(sides["ours"].gradients, sides[other].gradients)
    return Comparison(sides["ours"], sides[other], gap, where)


def gradient_difference(ours: Path, other: Path) -> tuple[float, str]:
    """max |g − g'| / max |g| of the tensor where it is largest, and that tensor's name.

    A tensor that only one side has, or that is zero on the other's alone, counts as infinite.
    """
    from safetensors import safe_open

    worst, where = 0.0, ""
    with safe_open(ours, framework="pt") as mine, safe_open(other, framework="pt") as theirs:
        both = set(mine.keys()) & set(theirs.keys())
        if lone := sorted(set(mine.keys()) ^ set(theirs.keys())):
            return float("inf"), lone[0]
        for name in sorted(both):
            expected = theirs.get_tensor(name).float()
            gap = float((mine.get_tensor(name).float() - expected).abs().max())
            size = float(expected.abs().max())
            ratio = gap / size if size > 0 else float("inf") if gap > 0 else 0.0
            if not ratio <= worst:  # NaN included
                worst, where = ratio, name
    return worst, where
