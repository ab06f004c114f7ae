"""`medray bench localise`: how well and how fast a localiser finds what held-out phantoms show."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast, get_args

from medray.config import LocaliserConfig, LocaliserKind
from medray.errors import UserError

DEFINITIONS = {
    "lesion_iou": "mean intersection over union of what is found and the lesion's pixels, over all "
    "studies with a lesion; 0 where nothing is found",
    "lesion_found": "share of the studies with a lesion in which something of it is found",
    "box_iou": "as lesion_iou, of the bounding boxes",
    "heart_iou": "as lesion_iou, of the heart, over all studies",
    "false_found": "share of the findings a study does not show in which something is found",
    "searches_per_second": "pictures with one concept each, per second of processor time",
}


@dataclass(frozen=True, slots=True)
class LocaliseSettings:
    """The tool and the number of held-out studies."""

    kind: str = "clipseg"
    path: str = "phantom/localiser"
    threshold: float = 0.5
    studies: int = 200
    seed: int = 0


def run_localise(settings: LocaliseSettings) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values. Raises a UserError."""
    if settings.kind not in get_args(LocaliserKind):
        known = ", ".join(get_args(LocaliserKind))
        raise UserError(f"--kind {settings.kind}", "no such kind", f"give one of {known}")
    if settings.studies < 1:
        raise UserError(f"--studies {settings.studies}", "below 1", "give 1 or more")
    if not 0 < settings.threshold < 1:
        raise UserError(f"--threshold {settings.threshold}", "not between 0 and 1", "give 0.5")
    from medray.phantom.training.localiser.measure import measure

    config = LocaliserConfig(
        kind=cast(LocaliserKind, settings.kind), path=settings.path, threshold=settings.threshold
    )
    figures = measure(config, studies=settings.studies, seed=settings.seed)
    return {
        "tool": {"kind": settings.kind, "path": settings.path, "threshold": settings.threshold},
        "studies": settings.studies,
        **figures,
        "device": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "definitions": DEFINITIONS,
    }


def show_localise(result: dict[str, Any]) -> None:
    """Print one row per figure."""
    tool = result["tool"]
    print(f"{tool['kind']} {tool['path']}, {result['studies']} held-out phantoms")
    for name in DEFINITIONS:
        print(f"{name:20} {result[name]:.3g}")
