"""Finds what the texts of cases claim in their pictures, by one visual tool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.accelerator import has_gpu
from medray.config import Config
from medray.localising import Locator
from medray.records import Case, Region


class Localiser:
    """Keeps nothing between calls but a cache by picture and concept."""

    def __init__(self, config: Config, replica: int) -> None:
        self.replica = replica
        device = "cuda" if has_gpu() else "cpu"
        self.locator = Locator(config.localiser, device)

    def __repr__(self) -> str:
        return f"Localiser(replica={self.replica})"

    def reset(self, config: Config) -> None:
        """Begin another run, with the same tool."""

    def locate(
        self, cases: Sequence[Case], answers: Sequence[str], *images: np.ndarray
    ) -> list[tuple[Region, ...]]:
        """The regions found for each case and its answer; images, uint8 [H, W, 3], are those of
        one case after the other."""
        return self.locator.locate(cases, answers, images)
