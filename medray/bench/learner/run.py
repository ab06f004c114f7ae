"""`medray bench learner`: a forward and backward pass over pairs, compared with the usual ways."""

from __future__ import annotations

import importlib.util
import platform
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import medray
from medray.bench.learner.flops import DEFINITION, LIMIT, peak_of
from medray.bench.learner.settings import Settings, report_points, sweep_points
from medray.bench.learner.variants import Measured, Progress, measure
from medray.errors import ResourceError, RunFailed
from medray.objectives import find_objective

NO_TRL = "TRL is not installed: run `make install-bench` to compare with it"
NO_BASELINE = "kto: without its baseline over mismatched pairs (z0 = 0), in every variant"
DEFINITIONS = {
    "repeat": "gradients set to none, forward passes of policy and reference with vision, "
    "backward pass of the mean loss; no optimiser. The variants take turns, so that only one "
    "computes at a time",
    "speedup": "median seconds of the other variant over ours",
    "memory": "our peak_bytes over the other variant's",
    "peak_bytes": "CPU: peak resident bytes of the process; GPU: the most bytes that torch had "
    "allocated since the model was built",
    "baseline_bytes": "resident or allocated bytes once the model is built",
    "loss_difference": "absolute, in nats",
    "gradient_difference": "largest |g - g'| of a tensor over its largest |g|, worst of all "
    "trained tensors; g is the other variant's",
    "gradient_norm_difference": "relative",
    "model_flop_utilisation": DEFINITION,
    "of_limit": LIMIT,
}


def run_learner(
    settings: Settings,
    *,
    with_naive: bool = True,
    with_trl: bool = True,
    sweep: bool = False,
    progress: Progress = print,
) -> dict[str, Any]:
    """Run the benchmark; return everything that is printed as one tree of plain values.

    `with_naive`: also compare with naive scoring, of which a sweep is made. A side that fails has
    the reason as its row, and no ratio.
    """
    needs = find_objective(settings.objective).needs
    require_device(settings)
    trl = with_trl and importlib.util.find_spec("trl") is not None
    shared = settings.pairs > settings.batch
    others = ["naive"] * (with_naive or not shared) + ["apart"] * shared
    comparisons = {other: compare(settings, other, progress) for other in others}
    comparison = comparisons[others[0]]
    result = describe(
        settings, comparison, with_naive=with_naive, with_trl=with_trl, trl=trl, sweep=sweep
    )
    result["sides"] = {"ours": comparison.ours.summary(settings.pairs)}
    for other, comparison in comparisons.items():
        result |= comparison.figures(other)
        result["sides"][other] = comparison.other.summary(settings.pairs)
    add_utilisation(result, result["device"])
    if trl and not shared:
        comparison = compare(replace(settings, objective="dpo"), "trl", progress)
        result |= comparison.figures("trl")
        result["sides"]["ours-dpo"] = comparison.ours.summary(settings.pairs)
        result["sides"]["trl"] = comparison.other.summary(settings.pairs)
    if sweep:
        result["sweep"] = sweep_figures(settings, result, progress)
    result["notes"] = [NO_BASELINE] * needs.kto_baseline + [NO_TRL] * (with_trl and not trl)
    return result | {"definitions": DEFINITIONS}


def describe(
    settings: Settings,
    comparison: Comparison,
    *,
    with_naive: bool,
    with_trl: bool,
    trl: bool,
    sweep: bool,
) -> dict[str, Any]:
    """What was measured, on which device, with which versions, and the command to repeat it.

    `with_trl`: TRL was requested; `trl`: it is also installed.
    """
    facts = comparison.ours.facts or comparison.other.facts
    given = {"--sweep": sweep, "--no-naive": not with_naive, "--no-trl": not with_trl}
    flags = [flag for flag, is_given in given.items() if is_given]
    packages = ["torch", "transformers", "peft"]
    packages += ["trl"] if trl else []
    return {
        "bench": "learner",
        "command": settings.command(*flags),
        "device": facts["device"],
        "device_kind": "cpu" if facts["on_cpu"] else "cuda",
        "threads": facts["threads"],
        "versions": {
            "medray": medray.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "shape": settings.shape,
        "objective": settings.objective,
        "dtype": settings.dtype,
        "sizes": settings.sizes,
        "repeats": settings.repeats,
        "parameters": facts["parameters"],
        "trainable_parameters": facts["trainable_parameters"],
    }


def add_utilisation(result: dict[str, Any], device: str) -> None:
    """Add the share of the device's peak that is used, if the peak is known."""
    peak = peak_of(device, result["dtype"])
    if peak is None:
        return
    measured = [variant for variant in result["sides"].values() if "error" not in variant]
    for variant in measured:
        rate = variant["operations"] / variant["seconds"]["median"]
        variant["model_flop_utilisation"] = rate / peak
    if "model_flop_utilisation" in (ours := result["sides"]["ours"]):
        result["model_flop_utilisation"] = ours["model_flop_utilisation"]


def sweep_figures(
    settings: Settings, result: dict[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    """The ratios with one size changed at a time; a point that fails has its error instead."""
    keys = ("speedup_vs_naive", "memory_vs_naive", "loss_difference", "gradient_difference")
    rows = []
    reports: list[tuple[str, Any, Settings]] = [(n, "", p) for n, p in report_points(settings)]
    sizes = [(name, point.sizes[name], point) for name, point in sweep_points(settings)]
    for name, value, point in (*reports, *sizes):
        row: dict[str, Any] = {"size": name, "value": value}
        progress(f"sweep: {name} {value}".rstrip())
        if point == settings and "speedup_vs_naive" in result:
            row |= {key: result[key] for key in keys}
            sides = {name: result["sides"][name] for name in ("ours", "naive")}
        else:
            try:
                comparison = compare(point, "naive", progress)
                why = comparison.ours.failure or comparison.other.failure
            except RunFailed as error:
                why = str(error)
            if why:
                rows.append(row | {"error": why})
                continue
            figures = comparison.figures("naive")
            row |= {key: figures[key] for key in keys}
            measured = {"ours": comparison.ours, "naive": comparison.other}
            sides = {name: one.summary(point.pairs) for name, one in measured.items()}
        for side, summary in sides.items():
            row |= {f"{key}_{side}": summary[key] for key in ("seconds", "peak_bytes")}
        row["of_limit"] = sides["ours"].get("of_limit")
        progress(sweep_line(row))
        rows.append(row)
    return rows


def sweep_line(row: dict[str, Any]) -> str:
    """One point in words, as it comes."""
    seconds, peak = row["seconds_ours"]["median"], row["peak_bytes_ours"] / 1e9
    name = f"{row['size']} {row['value']}".rstrip()
    limit = f", {row['of_limit']:.0%} of the limit" if row["of_limit"] else ""
    against = f"{row['speedup_vs_naive']:.2f} × as fast as naive"
    return f"{name}: {seconds:.3g} s, {peak:.2f} GB{limit}; {against}"


def require_device(settings: Settings) -> None:
    """Raise ResourceError if a GPU is requested and there is none."""
    import torch

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("--device cuda", "torch finds no GPU here", "use --device cpu")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two variants measured with the same settings."""

    ours: Measured
    other: Measured
    gap: float  # largest relative difference of a gradient tensor
    tensor: str  # name of that tensor

    def figures(self, name: str) -> dict[str, float | str]:
        """The figures of the comparison with `name`, by their keys in the result; none if a side
        failed."""
        if self.ours.failure or self.other.failure:
            return {}
        ours, other = self.ours.last, self.other.last
        norm = other["gradient_norm"]
        figures = {
            f"speedup_vs_{name}": self.other.seconds / self.ours.seconds,
            f"memory_vs_{name}": self.ours.peak_bytes / self.other.peak_bytes,
            "loss_difference": abs(ours["loss"] - other["loss"]),
            "gradient_difference": self.gap,
            "gradient_difference_at": self.tensor,
            "gradient_norm_difference": abs(ours["gradient_norm"] - norm) / norm if norm else 0.0,
        }
        if name == "naive":
            return figures
        return {k if k.endswith(name) else f"{k}_vs_{name}": v for k, v in figures.items()}


def compare(settings: Settings, other: str, progress: Progress) -> Comparison:
    """Measure ours and `other` in turns; gradients and logs are deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="medray-bench-") as folder:
        measured = measure(("ours", other), settings, Path(folder), progress)
        ours, theirs = measured["ours"], measured[other]
        if ours.failure or theirs.failure:
            return Comparison(ours, theirs, float("inf"), "")
        gap, tensor = gradient_difference(ours.gradients, theirs.gradients)
    return Comparison(ours, theirs, gap, tensor)


def gradient_difference(ours: Path, other: Path) -> tuple[float, str]:
    """The largest max |g − g'| / max |g| of any tensor, and the name of that tensor.

    A tensor that only one variant has, or that is zero in `other` alone, counts as infinite.
    """
    from safetensors import safe_open

    worst, worst_name = 0.0, ""
    with safe_open(ours, framework="pt") as mine, safe_open(other, framework="pt") as theirs:
        shared = set(mine.keys()) & set(theirs.keys())
        if unmatched := sorted(set(mine.keys()) ^ set(theirs.keys())):
            return float("inf"), unmatched[0]
        for name in sorted(shared):
            expected = theirs.get_tensor(name).float()
            gap = float((mine.get_tensor(name).float() - expected).abs().max())
            size = float(expected.abs().max())
            ratio = gap / size if size > 0 else float("inf") if gap > 0 else 0.0
            if not ratio <= worst:  # NaN included
                worst, worst_name = ratio, name
    return worst, worst_name
