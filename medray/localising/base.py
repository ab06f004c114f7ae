"""What every visual tool provides, and how a mask becomes a region."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from medray.config import LocaliserConfig
from medray.imaging.regions import embed_mask
from medray.localising.concepts import Concept
from medray.records import Region


class VisualTool(Protocol):
    """Finds concepts in pictures, one at a time: what else is asked changes no result."""

    def __init__(self, path: Path, config: LocaliserConfig, device: str) -> None: ...

    def find(self, image: np.ndarray, concept: Concept) -> tuple[Region, ...]:
        """Where the concept is, with a confidence of at least `localiser.threshold`.

        image: uint8 [H, W, 3]. Regions have the concept's name as label, and a score in (0, 1].
        """
        ...


def mask_regions(
    mask: np.ndarray, concept: Concept, score: float, config: LocaliserConfig
) -> tuple[Region, ...]:
    """One region from a mask, bool [H, W]; none if nothing is marked, or too much to be a place."""
    if not mask.any() or mask.mean() > config.max_area:
        return ()
    assert config.kind is not None
    return (Region(concept.name, mask=embed_mask(mask), source=config.kind, score=score),)
