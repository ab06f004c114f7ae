"""How often Python looks for reference cycles."""

from __future__ import annotations

import gc

ALLOCATIONS = 50_000  # of objects that refer to others, between two looks; Python's default: 700


def collect_rarely() -> None:
    """For processes that import much: each import brings thousands of objects that stay.

    A fifth of the time in which an actor starts goes into looking through them again and again.
    """
    gc.set_threshold(ALLOCATIONS, 20, 50)
