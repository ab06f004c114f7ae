"""How often Python looks for reference cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS = 50_000  # of objects that refer to others, between two looks; Python's default: 700


def collect_rarely() -> None:
    """For processes that import much: each import brings thousands of objects that stay.

    A fifth of the time in which an actor starts goes into looking through them again and again.
    """
    gc.set_threshold(ALLOCATIONS, 20, 50)


@contextmanager
def without_looking() -> Iterator[None]:
    """While many objects are made that stay, such as the cases of a dataset, none of them is looked
    through, and later looks leave them out."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
