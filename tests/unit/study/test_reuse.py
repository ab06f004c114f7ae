"""Which cells can follow each other on the same actors."""

from __future__ import annotations

import pytest

from medray.config import Config, load_config
from medray.study.reuse import REUSABLE, cost_of, needs_new_actors
from tests.support.paths import ROOT


def config(*overrides: str) -> Config:
    return load_config(ROOT / "configs/quickstart.yaml", overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ("objective={name: sft}",),
        ("objective={name: kto}", "learner.lr=0.1", "loop.batch=4"),
        ("run.seed=3", "data.seed=3", "data.limit=9", "eval.n=3", "eval.every=1"),
        ("generator.temperature=0.1", "generator.responses=2", "generator.max_new_tokens=9"),
        ("model.lora.rank=4", "model.lora.targets=[vision]"),
        ("model.lora=null", "model.trainable=[projector]"),
        ("loop.resample_every=0", "targeting.strength=0.5", "corruption.kind=black"),
        ("editor.scope=answer", "faults.deadline=5"),
    ],
)
def test_what_is_read_anew_may_differ(overrides):
    assert needs_new_actors(config(), config(*overrides)) == ""
    assert needs_new_actors(config(*overrides), config()) == ""


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ((), ("model.path=phantom/qwen_base",), "model.path"),
        ((), ("model.dtype=float32",), "model.dtype"),
        ((), ("model.max_length=256",), "model.max_length"),
        ((), ("generator.replicas=2",), "generator.replicas"),
        ((), ("generator.memory=0.5",), "generator.memory"),
        ((), ("learner.world_size=2",), "learner.world_size"),
        ((), ("learner.zero_stage=3",), "learner.zero_stage"),
        ((), ("editor.replicas=2",), "editor.replicas"),
        ((), ("loop.sync=adapter",), "loop.sync"),
        (("loop.sync=adapter",), ("loop.sync=adapter", "model.lora.rank=4"), "model.lora"),
        ((), ("localiser.threshold=0.4",), "localiser.threshold"),
        ((), ("editor.kind=llm", "editor.path=x"), "editor"),
        (
            ("editor={kind: llm, path: x}",),
            ("editor={kind: llm, path: x}", "run.seed=1"),
            "run.seed",
        ),
    ],
)
def test_what_an_engine_was_started_with_needs_new_ones(before, after, key):
    assert needs_new_actors(config(*before), config(*after)) == key


def test_cells_that_need_fewest_new_actors_come_first():
    sft = "objective={name: sft}"
    assert cost_of(config(), config("run.seed=1")) == 0
    assert cost_of(config(), config(sft)) == cost_of(config(sft), config()) == 1
    assert cost_of(config(sft), config(sft, "run.seed=1")) == 0
    assert cost_of(config(), config(sft, "model.path=phantom/qwen_base")) == 2


def test_a_key_that_nobody_has_thought_of_needs_new_actors():
    """Only what is listed may differ: a new key of an engine is safe from the beginning."""
    sections = Config.model_fields
    sections_left_open = {entry.rstrip(".") for entry in REUSABLE if entry.endswith(".")}
    assert sections_left_open < set(sections)
    assert not sections_left_open & {"model", "generator", "learner", "localiser"}
