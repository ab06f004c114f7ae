"""The guard: an edited sentence is read again as a stranger's, whoever wrote it, and refused unless
it is sure. Every editor passes here."""

from medray.editing.guard.refusal import REASONS, Proposal, refusal
from medray.editing.guard.whole import guarded, later_stand, leans, projected, stands_alone

__all__ = [
    "REASONS",
    "Proposal",
    "guarded",
    "later_stand",
    "leans",
    "projected",
    "refusal",
    "stands_alone",
]
