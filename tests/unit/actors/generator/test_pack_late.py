"""Layers that pack their weights when they first decode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from actors.generator.vllm_patches import DECODED_TOGETHER, pack_late


class Packer:
    """As vLLM's: from then on the layer computes with what it was given."""

    def __init__(self) -> None:
        self.calls: list[bool] = []

    def __call__(self, layer, remove_weight):
        self.calls.append(remove_weight)
        packed = layer.weight.detach().clone()
        layer.cpu_linear = lambda x, weight, bias: x @ packed.T + (0 if bias is None else bias)


@pytest.fixture
def layer():
    return nn.Linear(4, 3)


def apply(layer, tokens):
    x = torch.randn(tokens, 4)
    return x, layer.cpu_linear(x, layer.weight, layer.bias)


def test_it_packs_once_when_it_decodes(layer):
    packer = Packer()
    pack_late(packer, layer, remove_weight=True)
    for tokens, calls in ((DECODED_TOGETHER + 1, []), (2, [False]), (2, [False])):
        x, found = apply(layer, tokens)
        assert torch.allclose(found, layer(x))
        assert packer.calls == calls
    assert layer.weight.numel() == 12, "the next update is copied into it"


def test_after_an_update_it_packs_the_new_weights(layer):
    packer = Packer()
    pack_late(packer, layer)
    apply(layer, 1)
    with torch.no_grad():
        layer.weight.mul_(2)
    pack_late(packer, layer)
    for tokens in (DECODED_TOGETHER + 1, 1):
        x, found = apply(layer, tokens)
        assert torch.allclose(found, layer(x))
    assert packer.calls == [False, False]


def test_a_bias_that_packing_made_float32_still_fits():
    layer = nn.Linear(4, 3, dtype=torch.bfloat16)
    layer.bias.data = layer.bias.data.float()
    pack_late(Packer(), layer)
    x = torch.randn(DECODED_TOGETHER + 1, 4, dtype=torch.bfloat16)
    assert layer.cpu_linear(x, layer.weight, layer.bias).dtype == torch.bfloat16


def test_what_is_no_linear_layer_is_left_to_vllm():
    layer = nn.Conv1d(2, 2, 3)
    packer = Packer()
    pack_late(packer, layer, remove_weight=True)
    assert packer.calls == [True]
