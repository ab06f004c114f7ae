"""`medray bench learner`: one forward and backward pass over pairs, beside the usual ways."""

from __future__ import annotations

import importlib.util
import platform
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import medray
from medray.bench.learner.flops import DEFINITION, peak_of
from medray.bench.learner.settings import Settings, sweep_points
from medray.bench.learner.variants import Measured, Progress, measure
from medray.errors import ResourceError, RunFailed
from medray.objectives import find_objective

NO_TRL = "TRL is not installed: `make install-bench` adds the comparison with it"
NO_BASELINE = "kto: without its baseline over mismatched pairs (z0 = 0), on every side"
DEFINITIONS = {
    "repeat": "gradients set to none, forward passes of policy and reference with vision, "
    "backward pass of the mean loss; no optimiser. Sides take turns, one computes at a time",
    "speedup": "median seconds of the other side over ours",
    "memory": "our peak_bytes over the other side's",
    "peak_bytes": "CPU: resident bytes of the process at their highest; GPU: the most that torch "
    "had allocated since the model stood",
    "baseline_bytes": "resident or allocated bytes when the model stands",
    "loss_difference": "absolute, in nats",
    "gradient_difference": "largest |g - g'| of a tensor over its largest |g|, worst of all "
    "trained tensors; g is the other side's",
    "gradient_norm_difference": "relative",
    "model_flop_utilisation": DEFINITION,
}


def run_learner(
    task: Settings, *, with_trl: bool = True, sweep: bool = False, progress: Progress = print
) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    needs = find_objective(task.objective).needs
    require_device(task)
    trl = with_trl and importlib.util.find_spec("trl") is not None
    beside = compare(task, "naive", progress)
    result = describe(task, beside, with_trl=with_trl, trl=trl, sweep=sweep)
    result |= beside.figures("naive")
    result["sides"] = {
        "ours": beside.ours.summary(task.batch),
        "naive": beside.other.summary(task.batch),
    }
    add_utilisation(result, beside.ours.facts["device"])
    if trl:
        beside = compare(replace(task, objective="dpo"), "trl", progress)
        result |= beside.figures("trl")
        result["sides"]["ours-dpo"] = beside.ours.summary(task.batch)
        result["sides"]["trl"] = beside.other.summary(task.batch)
    if sweep:
        result["sweep"] = sweep_figures(task, result, progress)
    result["notes"] = [NO_BASELINE] * needs.kto_baseline + [NO_TRL] * (with_trl and not trl)
    return result | {"definitions": DEFINITIONS}


def describe(
    task: Settings, beside: Comparison, *, with_trl: bool, trl: bool, sweep: bool
) -> dict[str, Any]:
    """What was measured, on what, with what, and how to do it again.

    `with_trl`: TRL was asked for; `trl`: it is there as well.
    """
    facts = beside.ours.facts
    flags = [*(["--sweep"] if sweep else []), *([] if with_trl else ["--no-trl"])]
    packages = ["torch", "transformers", "peft"]
    packages += ["trl"] if trl else []
    return {
        "bench": "learner",
        "command": task.command(*flags),
        "device": facts["device"],
        "device_kind": "cpu" if facts["on_cpu"] else "cuda",
        "threads": facts["threads"],
        "versions": {
            "medray": medray.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "shape": task.shape,
        "objective": task.objective,
        "dtype": task.dtype,
        "sizes": task.sizes,
        "repeats": task.repeats,
        "parameters": facts["parameters"],
        "trainable_parameters": facts["trainable_parameters"],
    }


def add_utilisation(result: dict[str, Any], device: str) -> None:
    """Share of the device's peak, where that is known."""
    peak = peak_of(device, result["dtype"])
    if peak is None:
        return
    for side in result["sides"].values():
        rate = side["operations"] / side["seconds"]["median"]
        side["model_flop_utilisation"] = rate / peak
    result["model_flop_utilisation"] = result["sides"]["ours"]["model_flop_utilisation"]


def sweep_figures(
    task: Settings, result: dict[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    """The ratios with one size changed at a time; a point that does not fit says so."""
    keys = ("speedup_vs_naive", "memory_vs_naive", "loss_difference", "gradient_difference")
    rows = []
    for name, point in sweep_points(task):
        row: dict[str, Any] = {"size": name, "value": point.sizes[name]}
        progress(f"sweep: {name} {row['value']}")
        if point == task:
            row |= {key: result[key] for key in keys}
            row |= {f"seconds_{s}": result["sides"][s]["seconds"] for s in ("ours", "naive")}
        else:
            try:
                beside = compare(point, "naive", progress)
            except RunFailed as error:
                rows.append(row | {"error": str(error)})
                continue
            figures = beside.figures("naive")
            row |= {key: figures[key] for key in keys}
            for side, measured in (("ours", beside.ours), ("naive", beside.other)):
                row[f"seconds_{side}"] = measured.summary(point.batch)["seconds"]
        rows.append(row)
    return rows


def require_device(task: Settings) -> None:
    """ResourceError where a GPU is asked for and there is none."""
    import torch

    if task.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("--device cuda", "torch finds no GPU here", "use --device cpu")


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


def compare(task: Settings, other: str, progress: Progress) -> Comparison:
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
