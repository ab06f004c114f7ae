"""The learning rate of a step, by hand."""

from __future__ import annotations

import math

import pytest

from medray.config import LearnerConfig
from medray.policy.model.schedule import bucket_size, learning_rate


def rates(total, **given):
    config = LearnerConfig(lr=2.0, **given)
    return [learning_rate(config, step, total) for step in range(1, total + 1)]


def test_constant():
    assert rates(4) == [2.0] * 4


def test_warm_up_then_constant():
    assert rates(5, warmup_steps=4) == [0.5, 1.0, 1.5, 2.0, 2.0]


def test_cosine():
    half = math.sqrt(0.5)
    assert rates(4, schedule="cosine") == pytest.approx([2.0, 1 + half, 1.0, 1 - half])


def test_warm_up_then_cosine():
    expected = [1.0, 2.0, 2.0, 1.0 + 0.5, 1.0 - 0.5]  # cos 0, cos 60°, cos 120°
    assert rates(5, schedule="cosine", warmup_steps=2) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_longer_than_the_run(schedule):
    assert rates(3, schedule=schedule, warmup_steps=10) == pytest.approx([0.2, 0.4, 0.6])


@pytest.mark.parametrize("warmup", [0, 1, 3, 20])
def test_a_cosine_falls_after_the_warm_up_and_every_step_learns(warmup):
    rate_by_step = rates(20, schedule="cosine", warmup_steps=warmup)
    assert all(0 < rate <= 2.0 for rate in rate_by_step)
    after = rate_by_step[warmup:]
    assert after == sorted(after, reverse=True)


def test_a_single_step():
    assert rates(1, schedule="cosine") == [2.0]
    assert rates(1, schedule="cosine", warmup_steps=1) == [2.0]


def test_a_buffer_holds_what_trains_and_no_more_than_200_million():
    assert [bucket_size(trained) for trained in (0, 10**6, 7 * 10**9)] == [1, 10**6, 2 * 10**8]
