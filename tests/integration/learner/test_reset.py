"""Learners that begin another run in the same processes: as new ones would, to the last bit."""

from __future__ import annotations

import pytest
import torch

from tests.support.datasets.pairs import phantom_batch
from tests.support.processes.learners import call, config, exported, loss_of, start, step

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

STEPS = 2
BF16 = "model.dtype=bfloat16"
FIRST = (BF16, "model.lora={rank: 4, alpha: 8, dropout: 0.3}", "run.seed=3", "learner.lr=0.01")
DPO = "objective={name: dpo, beta: 0.5}"
SECOND = {
    "adapter": (BF16, DPO, "model.lora={rank: 8, alpha: 8, dropout: 0.3}", "learner.clip=0.5"),
    "weights": (BF16, DPO, "model.lora=null", "learner.micro_batch=4", "learner.weight_decay=0.1"),
}


def run(learners: list) -> tuple[list[float], dict]:
    losses = [
        loss_of(step(learners, version, phantom_batch(seed=version))) for version in range(STEPS)
    ]
    return losses, exported(learners)


@pytest.mark.parametrize(
    ("world", "stage", "second"),
    [
        (1, 2, "adapter"),
        pytest.param(1, 0, "weights", marks=pytest.mark.chaos),
        pytest.param(2, 1, "weights", marks=pytest.mark.chaos),
        pytest.param(2, 2, "adapter", marks=pytest.mark.chaos),
    ],
)
def test_a_second_run_is_what_it_would_be_alone(world, stage, second):
    how = (f"learner.world_size={world}", f"learner.zero_stage={stage}")
    expected = run(start(config(*how, *SECOND[second])))
    learners = start(config(*how, *FIRST))
    others, _ = run(learners)
    call(learners, "reset", config(*how, *SECOND[second]))
    losses, weights = run(learners)
    assert losses == expected[0] != others
    assert weights.keys() == expected[1].keys()
    assert [n for n, w in weights.items() if not torch.equal(w, expected[1][n])] == []
