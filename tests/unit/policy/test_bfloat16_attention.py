"""Attention by blocks, beside the formula in float64 and torch's own kernel."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from medray.policy import bfloat16_attention
from medray.policy.bfloat16_attention import attention
from medray.policy.scoring.masks import tree_mask

CAUSAL = SimpleNamespace(is_causal=True)


def tensors(rows=3, length=50, heads=4, groups=2, size=16, spread=1.0):
    """Query, key, value as transformers hands them over, and a gradient of the output."""
    shapes = (heads, spread), (groups, spread), (groups, 1.0)
    made = [
        (torch.randn(rows, length, count, size) * width).bfloat16().transpose(1, 2)
        for count, width in shapes
    ]
    return *made, torch.randn(rows, length, heads, size).bfloat16()


def naive(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """The formula, all at once; keys repeated for each of their heads."""
    many = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(many, dim=1) for each in (key, value))
    scores = (query @ key.mT * scale).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def with_gradients(function, inputs: list[Tensor], gradient: Tensor, dtype: torch.dtype):
    """[output, gradients of query, key and value], float64."""
    leaves = [each.detach().to(dtype).requires_grad_() for each in inputs]
    output = function(*leaves)
    output.backward(gradient.to(dtype))
    return [each.double() for each in (output.detach(), *(leaf.grad for leaf in leaves))]


def error(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    pairs = zip(found, exact, strict=True)
    return [float((a - b).abs().mean() / b.abs().mean()) for a, b in pairs]


def trees(length: int) -> Tensor:
    """Two branches behind a stem, one behind a stem of another length, and a row without any."""
    end = torch.full((3, length), length)
    end[0, 20:35], end[1, 5:40] = 35, 40
    return tree_mask(end)


def sliding(length: int) -> Tensor:
    index = torch.arange(length)
    near = (index[:, None] - index < 7) & (index <= index[:, None])
    return near[None, None]


def ahead(length: int) -> Tensor:
    """Tokens of an image that see one another, in the midst of causal ones."""
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
    mask[:, :, 8:24, 8:24] = True
    return mask


@pytest.mark.parametrize("mask", [trees, sliding, ahead])
@pytest.mark.parametrize("cells", [2**22, 1])  # all rows at once; one row at a time
@pytest.mark.parametrize("queries", [128, 16])
def test_it_is_the_formula(mask, cells, queries, monkeypatch):
    monkeypatch.setattr(bfloat16_attention, "CELLS", cells)
    monkeypatch.setattr(bfloat16_attention, "QUERIES", queries)
    *inputs, gradient = tensors()
    visible = mask(50)
    found = with_gradients(
        lambda q, k, v: attention(CAUSAL, q, k, v, visible)[0], inputs, gradient, torch.bfloat16
    )
    exact = with_gradients(
        lambda q, k, v: naive(q, k, v, visible, 16**-0.5), inputs, gradient, torch.float64
    )
    assert max(error(found, exact)) < 5e-3  # half of what bfloat16 resolves


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_it_is_as_exact_as_the_kernel_of_torch(spread):
    """Also where all keys weigh the same, so that all weights are rounded the same way."""
    *inputs, gradient = tensors(rows=4, length=230, heads=4, groups=4, size=64, spread=spread)
    visible = torch.ones(1, 1, 230, 230, dtype=torch.bool).tril()

    def torchs(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible).transpose(1, 2)

    exact = with_gradients(
        lambda q, k, v: naive(q, k, v, visible, 64**-0.5), inputs, gradient, torch.float64
    )
    ours = with_gradients(
        lambda q, k, v: attention(CAUSAL, q, k, v, visible)[0], inputs, gradient, torch.bfloat16
    )
    theirs = with_gradients(torchs, inputs, gradient, torch.bfloat16)
    for own, other, value in zip(error(ours, exact), error(theirs, exact), exact, strict=True):
        assert own <= 1.2 * other or value.abs().max() == 0.0


def test_a_scale_of_the_model_holds():
    *inputs, _ = tensors()
    visible = trees(50)
    found, _ = attention(CAUSAL, *inputs, visible, scaling=1.0)
    exact = naive(*(each.double() for each in inputs), visible, 1.0)
    assert error([found.double()], [exact])[0] < 5e-3


@pytest.mark.parametrize("causal", [True, False])
def test_rows_without_a_mask_are_left_to_torch(causal):
    *inputs, _ = tensors(groups=4)
    found, _ = attention(SimpleNamespace(is_causal=causal), *inputs, None)
    expected = F.scaled_dot_product_attention(*inputs, is_causal=causal).transpose(1, 2)
    assert torch.equal(found, expected)


def test_a_mask_is_looked_at_once_and_not_kept():
    *inputs, _ = tensors()
    visible = trees(50)
    for _ in range(3):
        attention(CAUSAL, *inputs, visible)
    assert len(bfloat16_attention._blocks_of_masks) == 1
    del visible
    assert len(bfloat16_attention._blocks_of_masks) == 0


def test_the_precision_of_other_products_stays():
    *inputs, _ = tensors()
    attention(CAUSAL, *inputs, trees(50))
    one = torch.randn(64, 64)
    assert torch.equal(one @ one, (one.double() @ one.double()).float()) or torch.allclose(
        one @ one, (one.double() @ one.double()).float(), atol=1e-4
    )
    assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"
