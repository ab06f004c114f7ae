"""Values from hidden states: by hand, against full distributions, and chunk by chunk."""

from __future__ import annotations

import math

import pytest
import torch

from medray.policy.scoring import head
from medray.policy.scoring.head import (
    DeviceReadIndex,
    kl_divergence,
    read_values,
    scale_and_cap,
    token_logps,
)

POSITIONS, WIDTH, VOCABULARY = 13, 6, 11


def random_states(seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    hidden, ref = (torch.randn(POSITIONS, WIDTH, generator=rng, dtype=dtype) for _ in range(2))
    weight = torch.randn(VOCABULARY, WIDTH, generator=rng, dtype=dtype)
    return hidden.requires_grad_(), ref, weight.requires_grad_()


READ_INDEX = DeviceReadIndex(
    logp_index=torch.tensor([0, 0, 1, 4, 5, 7, 7, 11, 12]),
    targets=torch.tensor([3, 9, 0, 10, 2, 2, 4, 8, 1]),
    kl_index=torch.tensor([1, 5, 6, 12]),
    directions=("kl_fwd", "kl_rev"),
)


def naive(hidden, ref, weight):
    policy, fixed = (hidden @ weight.T).log_softmax(-1), (ref @ weight.T.detach()).log_softmax(-1)
    p, q = policy[READ_INDEX.kl_index], fixed[READ_INDEX.kl_index]
    return {
        "policy_logp": policy[READ_INDEX.logp_index, READ_INDEX.targets],
        "ref_logp": fixed[READ_INDEX.logp_index, READ_INDEX.targets],
        "kl_fwd": (q.exp() * (q - p)).sum(-1),
        "kl_rev": (p.exp() * (p - q)).sum(-1),
    }


def total(values):
    """A sum that depends on every value, each with a different weight."""
    flat = torch.cat([values[name] for name in sorted(values)])
    return (flat * torch.linspace(1, 2, len(flat), dtype=flat.dtype)).sum()


@pytest.mark.parametrize("rows", [1, 3, POSITIONS, 100])
def test_chunks_change_neither_values_nor_gradients(monkeypatch, rows):
    monkeypatch.setattr(head, "CHUNK_VALUES", rows * VOCABULARY)
    hidden, ref, weight = random_states()

    def linear(states):
        return states @ weight.T

    got = read_values(linear, hidden, READ_INDEX, VOCABULARY, (linear, ref))
    expected = naive(hidden, ref, weight)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(total(got), [hidden, weight])
    theirs = torch.autograd.grad(total(expected), [hidden, weight])
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_only_one_chunk_of_logits_exists_at_a_time(monkeypatch):
    monkeypatch.setattr(head, "CHUNK_VALUES", 4 * VOCABULARY)
    hidden, ref, weight = random_states()
    chunk_sizes = []

    def linear(states):
        chunk_sizes.append(len(states))
        return states @ weight.T

    read_values(linear, hidden, READ_INDEX, VOCABULARY, (linear, ref))
    assert max(chunk_sizes) <= 4


def test_by_hand():
    # p = (1/4, 3/4), q = (1/2, 1/2): KL(p‖q) = ¼·ln½ + ¾·ln(3/2)
    logits = torch.tensor([[1.0, 3.0]]).log() + 5
    logp = token_logps(logits, torch.tensor([0]), torch.tensor([1]))
    assert logp.tolist() == pytest.approx([math.log(0.75)], rel=1e-6)
    p, q = torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[0.5, 0.5]]).log()
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert kl_divergence(p, q).tolist() == pytest.approx([expected], rel=1e-5)
    assert kl_divergence(p, p).tolist() == [0.0]


def test_scales_and_caps_follow_the_configuration():
    logits = torch.tensor([-40.0, 0.0, 3.0])
    assert torch.equal(scale_and_cap(logits, {}), logits)
    assert torch.equal(scale_and_cap(logits, {"logit_scale": 0.5}), logits * 0.5)
    assert torch.equal(scale_and_cap(logits, {"logits_scaling": 4.0}), logits / 4)
    capped = scale_and_cap(logits, {"final_logit_softcapping": 30.0})
    assert capped.tolist() == pytest.approx([30 * math.tanh(x / 30) for x in logits.tolist()])
    assert scale_and_cap(logits.bfloat16(), {}).dtype == torch.float32
