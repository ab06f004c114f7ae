"""Ten real learner steps give the losses that a naive training run wrote down."""

from __future__ import annotations

import pytest
import ray

from actors.learner import Learner
from actors.resources import place
from medray.config import load_config
from tests.golden.naive_training import LORA, LR, SEED, STEPS, read
from tests.pairs import phantom_batch
from tests.running import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize("name", read())
def test_the_learner_gives_the_golden_losses(name):
    """1e-5 relative at the first step; rounding of ten steps at the last."""
    config = load_config(ROOT / "configs/quickstart.yaml", [
        f"run.seed={SEED}", "model.dtype=float32", f"objective={{name: {name}}}",
        f"model.lora={{rank: {LORA.rank}, alpha: {LORA.alpha}}}", "learner.zero_stage=2",
        f"learner.lr={LR}", "learner.micro_batch=4", "learner.clip=1.0", "loop.batch=9",
    ])  # fmt: skip
    learner = ray.remote(Learner).options(**place(config).learner).remote(config, 0)
    ray.get(learner.join.remote(*ray.get(learner.rendezvous.remote())))
    losses = []
    for step in range(STEPS):
        report = ray.get(learner.step.remote(step, phantom_batch(seed=step)))
        losses.append(dict(report.metrics)["loss"])
    ray.kill(learner)
    golden = read()[name]
    assert losses[0] == pytest.approx(golden[0], rel=1e-5)
    assert losses == pytest.approx(golden, rel=2e-4)
    assert len({round(loss, 3) for loss in golden}) > 2, "nothing happens in these steps"
