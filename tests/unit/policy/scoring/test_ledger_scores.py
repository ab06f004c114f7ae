"""What the ledger records of a pair's scores, by hand."""

from __future__ import annotations

import math

import numpy as np
import torch

from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.ledger_scores import pair_scores

SIDE = Side(np.asarray([5, 6, 7]), np.asarray([False, True, True]))
PAIRS = [PackedPair(name, np.asarray([1]), SIDE, SIDE, ("x",), ("v",), 1.0) for name in "ab"]


def branch(first: list[float], second: list[float]) -> dict[str, torch.Tensor]:
    return {
        "policy_logp": torch.tensor([first, second]),
        "ref_logp": torch.tensor([first, second]) - 1,
        "edit_mask": torch.tensor([[False, True, True], [False, True, False]]),
    }


def scores():
    return {
        "clean/chosen": branch([-1, -2, -3], [-4, -5, -6]),
        "clean/rejected": branch([-2, -2, -2], [-1, -1, -1]),
        "corrupt/chosen": branch([-1, -4, -4], [-9, -9, -9]),
        "has_corrupt": torch.tensor([True, False]),
    }


def test_sums_and_contrast():
    first, second = pair_scores(PAIRS, scores(), torch.tensor([0.5, 0.25]))
    assert (first.pair_id, first.loss, second.loss) == ("a", 0.5, 0.25)
    assert (first.chosen_logp, first.rejected_logp) == (-6, -6)
    assert (first.chosen_ref_logp, second.rejected_ref_logp) == (-9, -6)
    assert first.visual_contrast == (-2 + 4) + (-3 + 4)  # only the edited tokens
    assert math.isnan(second.visual_contrast)


def test_what_the_objective_does_not_read_is_nan():
    given = {"clean/chosen": scores()["clean/chosen"]}
    del given["clean/chosen"]["ref_logp"]
    first, _ = pair_scores(PAIRS, given, torch.tensor([0.5, 0.25]))
    assert first.chosen_logp == -6
    for name in ("rejected_logp", "chosen_ref_logp", "rejected_ref_logp", "visual_contrast"):
        assert math.isnan(getattr(first, name)), name
