"""The memory plan in words, for the shipped model and for GPUs of made-up sizes."""

from __future__ import annotations

from medray.config import Config
from medray.memory import longest_answer, memory_lines
from medray.policy.model.loading import model_facts
from medray.records import Case, GivenSide


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


def test_texts_that_are_given_count_and_not_what_a_generator_may_say():
    facts = model_facts(Config.model_validate({"data": {"kind": "phantom"}}).model)
    side = GivenSide("there is a nodule " * 60)
    cases = [Case(str(n), "a.png", "00", "Where?", "left", "open", given=side) for n in range(3)]
    tokens = longest_answer(facts, cases)
    assert tokens > 200
    cfg = Config.model_validate({"data": {"kind": "pairs", "path": "p"}})
    few, many = (
        memory_lines(cfg, facts, 60, 1.0, generates=False, answer_tokens=each)[0][1]
        for each in (None, tokens)
    )
    assert few != many
    assert memory_lines(cfg, facts, 60, 1.0, generates=False, answer_tokens=64)[0][1] == few
