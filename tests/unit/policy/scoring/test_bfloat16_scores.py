"""Scores in bfloat16, with attention by blocks, beside those with torch's kernel and float32."""

from __future__ import annotations

import pytest
import torch

from medray.objectives import OBJECTIVES
from medray.policy import bfloat16_attention
from medray.policy.model.tuning import base_model
from tests.support.worlds import World, score

MODELS = (
    *("tiny_llava", "tiny_qwen2_vl", "tiny_qwen2_5_vl"),
    *("tiny_qwen3_vl", "tiny_internvl", "tiny_gemma3"),
)
FIRE = OBJECTIVES["fire"]


def loss_and_gradients(world: World, dtype: torch.dtype) -> torch.Tensor:
    """As one vector, float32."""
    policy = world.policy("lora").to(dtype)
    loss, _ = FIRE(score(world, policy, FIRE.needs))
    loss.mean().backward()
    gradients = [p.grad.flatten() for p in policy.parameters() if p.grad is not None]
    return torch.cat([loss.detach().flatten(), *gradients]).float()


@pytest.mark.parametrize("name", MODELS)
def test_they_are_as_exact_as_with_the_kernel_of_torch(name, request, monkeypatch):
    world, able = World(request.getfixturevalue(name)), [False]
    monkeypatch.setattr(bfloat16_attention, "_is_able", lambda: able[0])
    exact = loss_and_gradients(world, torch.float32)
    theirs = loss_and_gradients(world, torch.bfloat16)
    able[0] = True
    ours = loss_and_gradients(world, torch.bfloat16)
    assert not torch.equal(ours, theirs)
    assert (ours - exact).norm() <= 1.5 * (theirs - exact).norm()


def test_only_the_language_model_uses_it(tiny_llava, monkeypatch):
    """What the tower gives must be what the generator's tower gives, to the last bit."""
    monkeypatch.setattr(bfloat16_attention, "_is_able", lambda: True)
    world, seen = World(tiny_llava), []
    policy = world.policy("lora").to(torch.bfloat16)
    attention = bfloat16_attention.attention

    def watched(module, *arguments, **named):
        seen.append(module)
        return attention(module, *arguments, **named)

    monkeypatch.setattr(bfloat16_attention, "attention", watched)
    score(world, policy, FIRE.needs)
    layers = base_model(policy).model.language_model.layers
    assert {*seen} == {layer.self_attn for layer in layers}
