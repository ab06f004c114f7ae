"""Ten real learner steps give the losses that a naive training run wrote down."""

from __future__ import annotations

import pytest

from tests.golden.naive_training import LORA, LR, SEED, STEPS, read
from tests.support.datasets.pairs import phantom_batch
from tests.support.processes.learners import config, loss_of, start, step

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]


@pytest.mark.parametrize("name", read())
def test_the_learner_gives_the_golden_losses(name):
    """1e-5 relative at the first step; rounding of ten steps at the last."""
    learners = start(
        config(
            f"run.seed={SEED}",
            f"objective={{name: {name}}}",
            "learner.zero_stage=2",
            f"model.lora={{rank: {LORA.rank}, alpha: {LORA.alpha}}}",
            f"learner.lr={LR}",
            "learner.micro_batch=4",
            "learner.clip=1.0",
            "loop.batch=9",
        )
    )
    losses = [loss_of(step(learners, n, phantom_batch(seed=n))) for n in range(STEPS)]
    golden = read()[name]
    assert losses[0] == pytest.approx(golden[0], rel=1e-5)
    assert losses == pytest.approx(golden, rel=2e-4)
    assert len({round(loss, 3) for loss in golden}) > 2, "nothing happens in these steps"
