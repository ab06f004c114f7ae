"""The model card of the tiny localiser."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

_CARD = """---
license: cc0-1.0
library_name: transformers
pipeline_tag: image-segmentation
---

# medray phantom localiser

A {parameters:,.0f}-parameter CLIPSeg that finds nodules, opacities, effusions, cavities and the
heart in synthetic 48-pixel chest phantoms. It was trained on phantoms only, from random weights,
in fp32 on a CPU, and is stored in bf16. It knows nothing of real patients and is of no clinical
use: it exists so that localisation can be run, measured and tested in minutes.

## Recipe (seed {seed})

| setting | value |
|---|---|
| studies | {studies} |
| stage | {steps} steps of {batch} pictures with a phrase each, peak lr {lr} |

Studies come from the stream "base"; the figures from {heldout} studies of the stream "heldout".

## Figures

| figure | value |
|---|---|
{figures}

`lesion_iou`: mean intersection over union of what is found and the lesion's pixels, over all
studies with a lesion, 0 where nothing is found; `lesion_found`: share of those in which something
is; `box_iou`: the same for bounding boxes; `heart_iou`: for the heart; `false_found`: share of
the findings that a study does not show in which something is found all the same;
`searches_per_second`: per second of processor time; `seconds`: of the build, not the measurement.

Built with {versions}.
"""


def write_card(out: Path, *, recipe: Any, seed: int, figures: dict[str, float]) -> None:
    """Write README.md: recipe, seed, figures and versions."""
    packages = ("torch", "transformers", "tokenizers", "numpy")
    text = _CARD.format(
        parameters=figures["parameters"],
        seed=seed,
        studies=recipe.studies,
        steps=recipe.stage.steps,
        batch=recipe.stage.batch,
        lr=recipe.stage.lr,
        heldout=recipe.heldout,
        figures="\n".join(f"| {name} | {value:,.4g} |" for name, value in figures.items()),
        versions=", ".join(f"{name} {version(name)}" for name in packages),
    )
    (out / "README.md").write_text(text, encoding="utf-8")
