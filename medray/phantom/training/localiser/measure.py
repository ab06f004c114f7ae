"""How well a localiser finds what phantoms show: overlap with the truth, and false finds."""

from __future__ import annotations

import time

import numpy as np

from medray.config import LocaliserConfig
from medray.imaging.regions import region_mask
from medray.localising.concepts import HEART, Concept, phrase
from medray.localising.registry import open_tool
from medray.phantom.studies.truth import KINDS
from medray.phantom.training.localiser.masks import locate_studies


def measure(config: LocaliserConfig, *, studies: int = 200, seed: int = 0) -> dict[str, float]:
    """Figures on held-out studies, through the code that a run uses.

    lesion_iou: mean intersection over union with the lesion's pixels, over all studies with a
    lesion (0 where nothing is found); lesion_found: the share in which something of it is;
    box_iou: the same of the bounding boxes; heart_iou: of the heart; false_found: share of (study,
    finding it does not show) in which something is found; searches_per_second: of processor time.
    """
    tool = open_tool(config, "cpu")
    truth = locate_studies(seed, "heldout", 0, studies)
    lesions, boxes, hearts, false = [], [], [], []
    start = time.process_time()
    for row, shown in enumerate(truth.kinds):
        image = np.repeat(truth.images[row][:, :, None], 3, axis=2)
        for name in (*KINDS[:-1], HEART):
            regions = tool.find(image, Concept(name, phrase(name)))
            mask = region_mask(regions, *image.shape[:2])
            if name == HEART:
                hearts.append(overlap(mask, truth.hearts[row]))
            elif name == shown:
                lesions.append(overlap(mask, truth.lesions[row]))
                boxes.append(overlap(_boxed(mask), _boxed(truth.lesions[row])))
            else:
                false.append(float(mask is not None))
    searches = len(truth) * len(KINDS)
    return {
        "lesion_iou": _mean(lesions),
        "lesion_found": _mean([float(iou > 0) for iou in lesions]),
        "box_iou": _mean(boxes),
        "heart_iou": _mean(hearts),
        "false_found": _mean(false),
        "searches_per_second": searches / (time.process_time() - start),
    }


def overlap(mask: np.ndarray | None, truth: np.ndarray | None) -> float:
    """Intersection over union of two masks, bool [H, W]; 0.0 if either marks nothing.

    >>> overlap(np.array([[True, True]]), np.array([[True, False]]))
    0.5
    """
    if mask is None or truth is None:
        return 0.0
    union = (mask | truth).sum()
    return float((mask & truth).sum() / union) if union else 0.0


def _boxed(mask: np.ndarray | None) -> np.ndarray | None:
    """The bounding box of a mask, as a mask."""
    if mask is None or not mask.any():
        return None
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    boxed = np.zeros_like(mask)
    boxed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return boxed


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
