"""The weight of a pair that an older policy sampled."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from medray.objectives.base import Needs
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.importance import clipped_ratios, importance_weights

LN2, LN4 = math.log(2), math.log(4)


def test_hand_values():
    """First pair: ratios 2, 1/4 → 1/3 (bound), 1; second: 4 → 3 (bound); third: none."""
    policy = torch.tensor([[-1.0, -2.0, -0.5], [-0.5, -9.0, -9.0], [-1.0, -1.0, -1.0]])
    behaviour = torch.tensor(
        [[-1.0 - LN2, -2.0 + LN4, -0.5], [-0.5 - LN4, 0.0, 0.0], [-8.0, -8.0, -8.0]]
    )
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]).bool()
    weights, metrics = clipped_ratios(policy.requires_grad_(), behaviour, mask, 3.0)
    assert weights.tolist() == pytest.approx([(2 + 1 / 3 + 1) / 3, 3.0, 1.0])
    assert metrics["importance_mean"].tolist() == weights.tolist()
    assert metrics["importance_clipped"].tolist() == pytest.approx([1 / 3, 1.0, 0.0])
    assert metrics["importance_log_ratio"].tolist() == pytest.approx([(LN2 + LN4) / 3, LN4, 0.0])
    assert not weights.requires_grad


def test_what_is_not_read_may_hold_anything():
    """NaN and infinity outside the mask; a NaN that is read is not hidden."""
    policy = torch.tensor([[-1.0, math.nan, -math.inf]])
    behaviour = torch.tensor([[-1.0, -1.0, math.inf]])
    weights, metrics = clipped_ratios(policy, behaviour, torch.tensor([[True, False, False]]), 2.0)
    assert weights.tolist() == [1.0]
    assert [v.tolist() for v in metrics.values()] == [[1.0], [0.0], [0.0]]
    assert clipped_ratios(policy, behaviour, torch.tensor([[True, True, False]]), 2.0)[0].isnan()


def side(edited: list[int], behaviour: list[float] | None = None) -> Side:
    logps = None if behaviour is None else np.asarray(behaviour, dtype=np.float32)
    return Side(np.arange(len(edited)), np.asarray(edited, dtype=bool), logps)


def pair(chosen: Side, rejected: Side) -> PackedPair:
    return PackedPair("p", np.asarray([1]), chosen, rejected, ("x",), (), 1.0)


def branch(logps: list[list[float]], edited: list[list[int]]) -> dict[str, torch.Tensor]:
    values = torch.tensor(logps)
    return {
        "policy_logp": values,
        "edit_mask": torch.tensor(edited).bool(),
        "response_mask": torch.ones_like(values, dtype=torch.bool),
    }


PAIRS = [
    pair(side([0, 1, 0]), side([0, 1], [-5.0, -1.0 - LN2])),  # wrong: rejected was sampled
    pair(side([1, 1], [-2.0, -3.0 + LN2]), side([1, 0, 1])),  # right: chosen was
    pair(side([1, 0]), side([1, 0])),  # imported: not recorded
]
EDITED = {
    "chosen": [[0, 1, 0], [1, 1, 0], [1, 0, 0]],
    "rejected": [[0, 1, 0], [1, 0, 1], [1, 0, 0]],
}
SCORES = {
    "clean/chosen": branch([[-7.0, -7, -7], [-2, -3, 0], [-1, 0, 0]], EDITED["chosen"]),
    "clean/rejected": branch([[-1.0, -1, 0], [-7, -7, -7], [-1, 0, 0]], EDITED["rejected"]),
}


def test_the_sampled_side_at_the_positions_that_are_read():
    """Edited: [2] and [1, 1/2]. Response: the first pair's other token is e^4 → 10 as well."""
    edited = Needs(branches=("clean/chosen", "clean/rejected"), positions="edited")
    weights, _ = importance_weights(PAIRS, SCORES, edited, 10.0)
    assert weights.tolist() == pytest.approx([2.0, 0.75, 1.0])
    response = replace(edited, positions="response")
    scores = {n: b | {"response_mask": b["policy_logp"] != 0} for n, b in SCORES.items()}
    weights, _ = importance_weights(PAIRS, scores, response, 10.0)
    assert weights.tolist() == pytest.approx([6.0, 0.75, 1.0])


def test_a_sampled_side_that_is_not_read_weighs_one():
    needs = Needs(branches=("clean/chosen",), positions="edited")
    scores = {"clean/chosen": SCORES["clean/chosen"]}
    assert importance_weights(PAIRS, scores, needs, 10.0)[0].tolist() == pytest.approx([1, 0.75, 1])
