"""The regions that a run's localiser found for a ledger row, found again for its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medray.config import FOUND_REGIONS, Config
from medray.localising import Locator, edited_regions
from medray.records import Case, Span


def open_locator(config: Config) -> Locator | None:
    """The run's localiser, if v' was made from what it found. Raises ModelError if it is gone."""
    if config.corruption.region not in FOUND_REGIONS:
        return None
    return Locator(config.localiser)


def with_found_regions(
    case: Case, row: dict[str, Any], images: Sequence[np.ndarray], locator: Locator | None
) -> Case:
    """The case with the regions of the row's pair. images: of the case, uint8 [H, W, 3]."""
    if locator is None:
        return case
    (found,) = locator.locate([case], [row["response"] or ""], images)
    sides = [
        (row[side] or "", [Span(**span) for span in row[f"{side}_spans"] or []])
        for side in ("chosen", "rejected")
    ]
    regions = edited_regions((*case.regions, *found), case.question, sides)
    return replace(case, regions=regions)
