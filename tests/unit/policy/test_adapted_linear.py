"""LoRA that is added in place, beside PEFT's own layer in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from medray.policy import adapted_linear
from medray.policy.adapted_linear import add_in_place


def model(bias: bool = True, dtype: torch.dtype = torch.float64, **options) -> nn.Module:
    net = nn.Sequential(nn.Linear(7, 5, bias=bias), nn.Tanh(), nn.Linear(5, 6, bias=bias))
    net.requires_grad_(False)
    config = LoraConfig(**{"r": 3, "lora_alpha": 4.5, "target_modules": ["0", "2"]} | options)
    policy = get_peft_model(net.to(dtype), config, autocast_adapter_dtype=False)
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return policy


def outcome(policy: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, and gradients of the input and of every weight that trains."""
    policy.zero_grad()
    x = x.clone().requires_grad_()
    output = policy(x)
    (output * torch.arange(output.numel(), dtype=x.dtype).view_as(output).cos()).sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in policy.parameters() if p.requires_grad)]


def require_the_same(policy: nn.Module, x: torch.Tensor) -> None:
    ours = copy.deepcopy(policy)
    for own, parameter in zip(ours.parameters(), policy.parameters(), strict=True):
        vars(own).update(vars(parameter))  # deepcopy leaves marks behind
    add_in_place(ours)
    for found, expected in zip(outcome(ours, x), outcome(policy, x), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.fixture
def uses(monkeypatch) -> list:
    """Grows by one whenever a product is added in place."""
    calls, apply = [], adapted_linear._AdaptedLinear.apply

    def counted(*arguments):
        calls.append(arguments)
        return apply(*arguments)

    monkeypatch.setattr(adapted_linear._AdaptedLinear, "apply", counted)
    return calls


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (2, 3), ()])
def test_it_is_what_peft_computes(bias, shape, uses):
    require_the_same(model(bias), torch.randn(*shape, 7, dtype=torch.float64))
    assert len(uses) == 2


def test_strides_do_not_matter(uses):
    x = torch.randn(7, 2, 3, dtype=torch.float64).permute(2, 1, 0)
    require_the_same(model(), x)
    assert uses


def test_dropout_is_left_to_peft_where_it_is_on(uses):
    policy = model(lora_dropout=0.5)
    add_in_place(policy)
    x = torch.randn(4, 7, dtype=torch.float64)
    policy.train()(x)
    assert not uses
    require_the_same(policy.eval(), x)
    assert uses


def test_no_adapter_and_a_merged_one_are_left_to_peft(uses):
    policy = model()
    x = torch.randn(4, 7, dtype=torch.float64)
    adapted = policy(x)
    add_in_place(policy)
    with policy.disable_adapter():
        torch.testing.assert_close(policy(x), policy.get_base_model()(x))
        assert not torch.allclose(policy(x), adapted)
    policy.merge_adapter()
    torch.testing.assert_close(policy(x), adapted)
    assert not uses


def test_of_two_adapters_the_active_one_is_used(uses):
    policy = model()
    policy.add_adapter("other", LoraConfig(r=2, target_modules=["0", "2"]))
    policy.to(torch.float64)
    x = torch.randn(4, 7, dtype=torch.float64)
    first = policy(x)
    add_in_place(policy)
    policy.set_adapter("other")  # at zero
    assert not torch.allclose(policy(x), first)
    policy.set_adapter("default")
    torch.testing.assert_close(policy(x), first)
    assert len(uses) == 4


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_bias": True}])
def test_what_is_not_plain_lora_is_left_to_peft(options, uses):
    require_the_same(model(**options), torch.randn(4, 7, dtype=torch.float64))
    assert not uses


def test_a_layer_that_trains_is_left_to_peft(uses):
    policy = model()
    for layer in policy.modules():
        if hasattr(layer, "base_layer"):
            layer.base_layer.weight.requires_grad_(True)
    require_the_same(policy, torch.randn(4, 7, dtype=torch.float64))
    assert not uses


def test_adapters_of_another_precision_are_left_to_peft(uses):
    policy = model(dtype=torch.bfloat16)
    for name, parameter in policy.named_parameters():
        if "lora" in name:
            parameter.data = parameter.data.float()
    add_in_place(policy)
    policy(torch.randn(4, 7, dtype=torch.bfloat16))
    assert not uses


def test_sharded_weights_are_left_to_peft(uses):
    policy = model()
    for parameter in policy.parameters():
        parameter.ds_id = 0  # as DeepSpeed marks them
    require_the_same(policy, torch.randn(4, 7, dtype=torch.float64))
    assert not uses


def test_a_model_without_adapters_stays_as_it_is():
    layer = nn.Linear(2, 2)
    add_in_place(layer)
    assert "forward" not in vars(layer)
