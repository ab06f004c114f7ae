"""The memory plan in words, for the shipped model and for GPUs of made-up sizes."""

from __future__ import annotations

from medray.config import Config
from medray.memory import memory_lines
from medray.policy.model.loading import model_facts


def lines(gpu: float, **sections) -> list[str]:
    cfg = Config.model_validate({"data": {"kind": "phantom"}} | sections)
    facts = model_facts(cfg.model)
    return [line for _, line in memory_lines(cfg, facts, 60, gpu, generates=True)]


def test_a_small_model_fits():
    learner, generator, host = lines(80.0)
    assert "of 80 GiB, fits: weights" in learner
    assert generator.startswith("Generator 68 of 80 GiB")
    assert "object store" in host


def test_what_helps_is_named_from_the_cheapest_on():
    """1.5 GiB are kept for the device itself; activations are what the tiny model adds most."""
    first, remedy, *_ = lines(1.6, learner={"micro_batch": 512})
    assert "DOES NOT FIT" in first
    assert remedy.startswith("with learner.gradient_checkpointing=true")


def test_what_cannot_fit_is_said():
    first, remedy, generator, _ = lines(1.0)
    assert "DOES NOT FIT" in first
    assert remedy.startswith("not even with learner.gradient_checkpointing=true")
    assert "DOES NOT FIT" in generator
    assert "generator.tensor_parallel" in generator
