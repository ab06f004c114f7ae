"""Trees against the naive oracle for the architectures with something of their own: DeepStack
features, tiles, image tokens that see each other, windows; values, loss and gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from medray.objectives import OBJECTIVES, Needs
from medray.policy.model.tuning import base_model
from tests.support.datasets.pairs import naive_scores
from tests.support.worlds import World, close, require_naive_gradients, score, scorer_of

TINY = ("tiny_qwen2_vl", "tiny_qwen3_vl", "tiny_internvl", "tiny_gemma3")
BRANCHES = ("clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected")
KL = dict.fromkeys(BRANCHES, ("kl_fwd", "kl_rev"))
EVERYTHING = Needs(BRANCHES, "response", kl=KL, kl_positions="response")
WORLDS: dict[str, World] = {}


@pytest.fixture(params=TINY)
def world(request) -> World:
    name = request.param
    if name not in WORLDS:
        WORLDS[name] = World(request.getfixturevalue(name))
    return WORLDS[name]


@pytest.fixture
def gemma(tiny_gemma3) -> World:
    return WORLDS.setdefault("tiny_gemma3", World(tiny_gemma3))


def test_values_agree_with_the_naive_oracle(world):
    policy = world.policy("lora")
    with torch.no_grad():
        scores = score(world, policy, EVERYTHING)
        expected = naive_scores(policy, world.model, world.pairs, world.pixels, EVERYTHING)
    assert scorer_of(policy).layout.trees
    for branch in BRANCHES:
        mask = expected[branch]["response_mask"]
        for name in ("policy_logp", "ref_logp", "kl_fwd", "kl_rev"):
            close(scores[branch][name], expected[branch][name] * mask, (branch, name))


NAMES = ("fire", "dpo", "mdpo", "tdpo2")


@pytest.mark.parametrize(
    ("name", "tuning"),
    [
        *((name, "lora") for name in NAMES),
        ("fire", "full"),
        *(pytest.param(name, "full", marks=pytest.mark.chaos) for name in NAMES[1:]),
    ],
)
def test_loss_and_every_gradient_agree_with_the_naive_oracle(name, tuning, world):
    require_naive_gradients(OBJECTIVES[name], tuning, world)


def test_gradient_checkpointing_changes_no_gradient(world):
    gradients = []
    for enabled in (False, True):
        policy = world.policy("lora").train()
        if enabled:
            base_model(policy).gradient_checkpointing_enable({"use_reentrant": False})
        loss, _ = OBJECTIVES["fire"](score(world, policy, OBJECTIVES["fire"].needs))
        loss.sum().backward()
        gradients.append([p.grad for p in policy.parameters() if p.grad is not None])
    for plain, checkpointed in zip(*gradients, strict=True):
        close(checkpointed, plain, "gradient")


@pytest.mark.parametrize("row_tokens", [1, 90, 10_000])
def test_how_trees_are_packed_into_rows_changes_nothing(row_tokens, world):
    policy = world.policy("lora")
    with torch.no_grad():
        expected = score(world, policy, EVERYTHING)
        got = score(world, policy, EVERYTHING, row_tokens=row_tokens)
    for branch in BRANCHES:
        for name, value in expected[branch].items():
            close(got[branch][name].float(), value.float(), (branch, name))


def test_each_part_of_gemmas_masks_matters(gemma, monkeypatch):
    """Image tokens that see each other, and the windows: without one of them values differ."""
    policy = gemma.policy("lora")
    with torch.no_grad():
        complete = score(gemma, policy, EVERYTHING)["clean/chosen"]["policy_logp"]
        monkeypatch.setattr(type(scorer_of(policy).layout.architecture), "image_sees_itself", False)
        causal = score(gemma, policy, EVERYTHING)["clean/chosen"]["policy_logp"]
        monkeypatch.undo()
        wide = copy.copy(gemma)
        wide.model = copy.deepcopy(gemma.model)
        wide.model.config.text_config.sliding_window = 10_000
        unbounded = score(wide, wide.policy("lora"), EVERYTHING)["clean/chosen"]["policy_logp"]
    assert (causal - complete).abs().max() > 1e-2
    assert (unbounded - complete).abs().max() > 1e-2
