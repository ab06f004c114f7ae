"""What ZeRO shards beside the policy: the reference, and exact sums of gradients."""

from __future__ import annotations

import pytest
import ray

from tests.support.datasets.pairs import phantom_batch
from tests.support.processes.gradient_sums import gradient_norms
from tests.support.processes.learners import config, loss_of, start, step

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

FULL = ("model.lora=null", "model.trainable=[language]", "objective={name: dpo}")


def test_a_sharded_reference_gives_the_same_numbers():
    """Two ranks hold a half each (equal parts, so at most one value per weight more)."""
    common = [*FULL, "learner.world_size=2"]
    plain = start(config("learner.zero_stage=2", *common))
    expected = [step(plain, version, phantom_batch()) for version in range(2)]
    sharded = start(config("learner.zero_stage=3", *common))
    for version, reports in enumerate(expected):
        got = step(sharded, version, phantom_batch())
        assert loss_of(got) == pytest.approx(loss_of(reports), rel=1e-5)
        known = {s.pair_id: s for report in reports for s in report.scores}
        for score in (s for report in got for s in report.scores):
            of_reference = known[score.pair_id].chosen_ref_logp
            assert score.chosen_ref_logp == pytest.approx(of_reference, abs=1e-4)
    assert loss_of(expected[0]) != pytest.approx(loss_of(expected[1]), rel=1e-3)
    for own, complete in ray.get([host.reference_sizes.remote() for host in sharded]):
        assert complete / 2 <= own < complete / 2 * 1.01


def test_gradients_of_many_micro_batches_are_added_in_float32():
    """1 + 64 / 512, at four places: in bfloat16 each of the 64 terms would be rounded away."""
    configs = [
        config(
            f"learner.zero_stage={stage}",
            "model.dtype=bfloat16",
            "loop.batch=65",
            "learner.micro_batch=1",
            "learner.clip=1e9",
        )
        for stage in (2, 3)
    ]
    alone = ray.remote(num_cpus=0, max_calls=1)(gradient_norms)
    norms = ray.get(alone.remote(configs, [1.0] + [2**-9] * 64))
    assert norms == pytest.approx([2 * 1.125] * 2)
