"""Pairs to log-probabilities: branches as trees, one forest, values, scores.

`score_pairs` is the way in; `scorer` is the module whose forward pass reads a forest.
"""

from medray.policy.scoring.ledger_scores import pair_scores
from medray.policy.scoring.score_pairs import (
    AdaptersOff,
    FrozenModel,
    Reference,
    score_answers,
    score_pairs,
)
from medray.policy.scoring.scorer import Scorer

__all__ = [
    "AdaptersOff",
    "FrozenModel",
    "Reference",
    "Scorer",
    "pair_scores",
    "score_answers",
    "score_pairs",
]
