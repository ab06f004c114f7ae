"""Linear layers with LoRA, whose product is added in place.

PEFT's layer makes a tensor of the output's size for the adapter's product, one for its scaling, and
one for the sum, and the same for the gradient of its input: an eighth of a step on a CPU. Here
each is one product that adds. Whatever is not plain LoRA on a frozen layer is left to PEFT.

Shapes: N tokens; a layer from I to O values, an adapter of rank R.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def add_in_place(policy: nn.Module) -> None:
    """Have the adapted layers of a policy under PEFT do so; any other model stays as it is."""
    if not hasattr(policy, "peft_config"):
        return
    from peft.tuners.lora import Linear

    for layer in policy.modules():
        if type(layer) is Linear:
            layer.forward = functools.partial(_forward, layer)


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    output: Tensor
    if args or kwargs or not _is_plain(layer, x):
        output = type(layer).forward(layer, x, *args, **kwargs)
        return output
    (name,), base = layer.active_adapters, layer.base_layer
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    output = _AdaptedLinear.apply(x, base.weight, base.bias, down, up, layer.scaling[name])
    return output


def _is_plain(layer: Any, x: Tensor) -> bool:
    """Whether one adapter is in use, without dropout, on a layer that is frozen and not sharded."""
    active, base = layer.active_adapters, layer.base_layer
    if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] not in layer.lora_A:
        return False
    name = active[0]
    weights = base.weight, layer.lora_A[name].weight, layer.lora_B[name].weight
    return (
        type(base) is nn.Linear
        and not base.weight.requires_grad
        and (base.bias is None or not base.bias.requires_grad)
        and name not in layer.lora_variant
        and layer.lora_B[name].bias is None
        and (isinstance(layer.lora_dropout[name], nn.Identity) or not layer.training)
        # ZeRO-3 has a weight only while the layer that owns it computes.
        and not any(hasattr(weight, "ds_id") for weight in weights)
        and all(weight.dtype == x.dtype for weight in weights)
    )


class _AdaptedLinear(torch.autograd.Function):
    """x Wᵀ + bias + scale · (x Aᵀ) Bᵀ of x [..., I], W [O, I], A [R, I], B [O, R]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        low = F.linear(x, a)
        ctx.save_for_backward(x, weight, a, b, low)
        ctx.scale = scale
        output = F.linear(x, weight, bias)
        output.view(-1, len(b)).addmm_(low.view(-1, len(a)), b.T, alpha=scale)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With g = ∂/∂output [N, O] and h = scale · g B: ∂/∂x = g W + h A; ∂/∂A = hᵀ x;
        ∂/∂B = scale · gᵀ (x Aᵀ)."""
        x, weight, a, b, low = ctx.saved_tensors
        g = gradients[0].reshape(-1, len(b))
        by_low = torch.mm(g, b).mul_(ctx.scale)
        by_x = by_a = by_b = None
        if ctx.needs_input_grad[0]:
            by_x = torch.mm(g, weight).addmm_(by_low, a).view(x.shape)
        if ctx.needs_input_grad[3]:
            by_a = torch.mm(by_low.T, x.reshape(-1, x.shape[-1]))
        if ctx.needs_input_grad[4]:
            by_b = torch.mm(g.T, low.view(-1, len(a))).mul_(ctx.scale)
        return by_x, None, None, by_a, by_b, None
