"""The visual part of how much a pair matters (after MMedPO, arXiv 2412.06141)."""

from __future__ import annotations


def joint_relevance(clinical: float, visual: float | None) -> float:
    """The mean of a pair's clinical relevance and the localiser's confidence, both in [0, 1].

    MMedPO has pairs of two types: texts that differ, scored by medical judges, and pictures that
    differ, scored by the visual tool's confidence in the region. A pair here is both at once.
    Without a region that was found (None) it is the clinical relevance alone.

    >>> joint_relevance(1.0, 0.5), joint_relevance(0.6, None)
    (0.75, 0.6)
    """
    return clinical if visual is None else (clinical + visual) / 2
