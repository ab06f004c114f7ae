"""What an actor needs, against derivations by hand for a model of round numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medray.config import Config, LoraConfig
from medray.memory.needs import (
    ENGINE,
    GIB,
    RESERVE,
    batch_tokens,
    between_steps,
    generator_needs,
    host_needs,
    learner_needs,
    sequences,
)
from medray.memory.sizes import Sizes
from medray.objectives import needs_of

BILLION = 10**9
# 7 billion weights, 100 million of an adapter; a cache of 2 · 32 layers · 8 heads · 128 values.
LORA = Sizes(7 * BILLION, 10**8, 10**8, 6 * BILLION, 32_000, 6.0e6, 65_536)
FULL = Sizes(7 * BILLION, 6 * BILLION, 0, 6 * BILLION, 32_000, 6.0e6, 65_536)


def config(**sections) -> Config:
    tree = {"data": {"kind": "phantom"}, "generator": {"max_new_tokens": 100}}
    return Config.model_validate(tree | sections)


def test_a_rank_under_lora():
    """bf16 weights, 12 bytes of state per adapter weight, and 4 of gradient, which several
    micro-batches are summed in, beside the buffer of DeepSpeed; no reference. fire has one tree per
    pair and image: 2 · (600 + 2 · 100) tokens; it reads 4 · 100 positions a pair, KL at 100."""
    cfg = config(learner={"micro_batch": 4})
    parts = learner_needs(cfg, LORA, needs_of(cfg.objective), 600)
    assert parts["weights"] == 2 * (7 * BILLION + 10**8)
    assert parts["optimiser"] == 12 * 10**8
    assert parts["gradients"] == (4 + 2) * 10**8
    assert parts["reference"] == 0
    assert batch_tokens(cfg, needs_of(cfg.objective), 600) == 4 * 2 * (600 + 2 * 100)
    assert parts["activations"] == 6400 * 6_000_000
    assert parts["logits"] == (4 + 4 + 2) * 1600 * 32_000 + 4 * 4 * 400 * 32_000
    assert parts["reserve"] == RESERVE


@pytest.mark.parametrize(
    ("stage", "weights", "states", "gradients", "reference", "between"),
    [
        (0, 14, 72, 12, 12, 98),
        (1, 14, 9, 12.4, 12, 35),
        (2, 14, 9, 3.4, 12, 35),
        (3, 3.85, 9, 3.4, 1.75, 15.9),
    ],
)
def test_eight_ranks_of_full_tuning(stage, weights, states, gradients, reference, between):
    """Bytes in billions: 7 weights and 6 that train, of 2 bytes, states of 12, shared by stage.

    Gradients are summed in 4 bytes where they are sharded, and pass a buffer of 200 million;
    ZeRO-3 gathers a billion weights and 50 million more. Between steps it keeps the memory of
    gradients, and nothing that was gathered."""
    cfg = config(
        model={"lora": None},
        learner={"world_size": 8, "zero_stage": stage},
        objective={"name": "dpo"},
    )
    parts = learner_needs(cfg, FULL, needs_of(cfg.objective), 600)
    found = [parts[name] / BILLION for name in ("weights", "optimiser", "gradients", "reference")]
    assert found == [weights, states, gradients, reference]
    assert between_steps(cfg, FULL, parts) / BILLION == between


@pytest.mark.parametrize("many", [{"loop": {"group_by": "image"}}, {"generator": {"responses": 8}}])
def test_pairs_that_share_a_prompt_may_be_more_than_micro_batch(many):
    """In the tokens of two pairs alone: all but those of one prompt may be read."""
    given = {"learner": {"micro_batch": 2}, "objective": {"name": "dpo"}} | many
    cfg = config(**given | {"generator": {"max_new_tokens": 100} | many.get("generator", {})})
    parts = learner_needs(cfg, LORA, needs_of(cfg.objective), 600)
    assert parts["activations"] == 2 * (600 + 200) * 6_000_000
    assert parts["logits"] == 10 * (2 * (600 + 200) - 600) * 32_000


def test_checkpointing_makes_a_layer_again_when_the_logits_are_gone():
    cfg = config(learner={"micro_batch": 1, "gradient_checkpointing": True})
    small, large = (
        replace(LORA, token_bytes=1000.0, layer_bytes=each) for each in (100.0, 1_000_000.0)
    )
    tokens, needs = 2 * (600 + 200), needs_of(cfg.objective)
    parts = learner_needs(cfg, small, needs, 600)
    assert parts["activations"] == 1000 * tokens
    assert parts["logits"] > 100 * tokens
    parts = learner_needs(cfg, large, needs, 600)
    assert parts["activations"] + parts["logits"] == (1000 + 1_000_000) * tokens


def test_float32_needs_no_masters_of_its_own_without_sharding():
    cfg = config(model={"dtype": "float32"}, learner={"zero_stage": 0})
    parts = learner_needs(cfg, LORA, needs_of(cfg.objective), 600)
    assert (parts["weights"], parts["optimiser"]) == (4 * 7_100_000_000, 8 * 10**8)


def test_offloading_moves_states_to_the_host():
    cfg = config(learner={"offload": "optimizer", "world_size": 2})
    assert learner_needs(cfg, LORA, needs_of(cfg.objective), 600)["optimiser"] == 0
    host = host_needs(cfg, LORA, ranks=2, engines=1)
    update = 2 * 6 * BILLION  # of which the first rank keeps a copy
    assert host["learners"] == 2 * (14 * BILLION + 12 * 10**8 // 2) + update


def test_a_generator():
    """80 GiB · 0.85 − weights − engine, at 128 KiB per token."""
    cfg = config()
    parts = generator_needs(cfg, LORA, context=4096)
    assert parts == {"weights": 14 * BILLION, "one sequence": 4096 * 2 * 65_536, "engine": ENGINE}
    left = 80 * GIB * 0.85 - 14 * BILLION - ENGINE
    assert sequences(cfg, LORA, 4096, 80 * GIB, 700) == int(left / (2 * 65_536 * 700))
    halves = config(generator={"tensor_parallel": 2})
    assert generator_needs(halves, LORA, 4096)["weights"] == 7 * BILLION


def test_updates_pass_the_object_store_twice():
    lora = {"lora": LoraConfig()}
    full = host_needs(config(model=lora), LORA, 1, 1)["object store"]
    adapter = host_needs(config(model=lora, loop={"sync": "adapter"}), LORA, 1, 1)["object store"]
    assert (full, adapter) == (2 * 2 * 6 * BILLION, 2 * 2 * 10**8)
