"""Attention on CPUs whose matrix instructions take bfloat16.

torch's own kernel multiplies bfloat16 hardly faster than float32, and its backward pass is slow on
short rows. Here both are matrix products of blocks that stay in the cache, without what no query
of a block sees: twice as fast, three times in small models. Scores are float32: their factors are
bfloat16, so oneDNN loses nothing by multiplying them as such. As with torch's kernel, nothing of
the size of a row squared is kept: the backward pass computes the weights again (as FlashAttention
does, arXiv 2205.14135).

Shapes: B rows of L tokens, K of them keys; H heads of D values, G of them with keys of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

NAME = "medray_bfloat16"  # by which transformers knows it
QUERIES = 128  # of a block
CELLS = 2**22  # scores that are there at once: 16 MiB
INSTRUCTIONS = "avx512_bf16", "amx_bf16"


@dataclass(frozen=True, slots=True)
class Block:
    """Queries that follow one another, the keys that any of them sees, and float32 [B, 1, q, k]:
    0 for those that a query sees, −∞ for others."""

    queries: slice
    keys: slice
    bias: Tensor


_blocks_of_masks = WeakTensorKeyDictionary()  # one mask serves all layers of a model


def speed_up(language_model: Any) -> None:
    """Have a language model of transformers use it, if it is in bfloat16 and this machine computes
    on such CPUs."""
    if language_model.dtype == torch.bfloat16 and not torch.cuda.is_available() and _is_able():
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        language_model.set_attn_implementation(NAME)


def _is_able() -> bool:
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in INSTRUCTIONS)


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls: query [B, H, L, D], key and value [B, G, K, D] → [B, L, H, D].

    For rows with a mask of their own, bool [B or 1, 1, L, K], and nothing else to consider. The
    rest is left to torch's kernel, which is as fast where every token sees all others.
    """
    masked = attention_mask is not None and attention_mask.dtype == torch.bool
    if not masked or dropout or others.get("position_bias") is not None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **others
        )
    assert attention_mask is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _Attention.apply(query, key, value, _blocks(attention_mask), scale), None


def _blocks(mask: Tensor) -> tuple[Block, ...]:
    if mask not in _blocks_of_masks:
        starts = range(0, mask.shape[2], QUERIES)
        _blocks_of_masks[mask] = tuple(_block(mask, slice(s, s + QUERIES)) for s in starts)
    found: tuple[Block, ...] = _blocks_of_masks[mask]
    return found


def _block(mask: Tensor, queries: slice) -> Block:
    seen = mask[:, :, queries].flatten(0, 2).any(0).nonzero().flatten()
    keys = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 1)
    visible = mask[:, :, queries, keys]
    bias = torch.zeros(visible.shape).masked_fill_(~visible, -torch.inf)
    return Block(queries, keys, bias)


def _parts(blocks: tuple[Block, ...], query: Tensor) -> Iterator[tuple[slice, Block, Tensor]]:
    """As many rows of query [B, H, L, D] at a time as CELLS allows, with their bias."""
    for block in blocks:
        keys = block.keys.stop - block.keys.start
        count = max(1, CELLS // (query.shape[1] * QUERIES * keys))
        for start in range(0, len(query), count):
            part = slice(start, start + count)
            yield part, block, block.bias[part] if len(block.bias) > 1 else block.bias


class _Attention(torch.autograd.Function):
    """softmax(scale · Q Kᵀ + bias) V: query [B, H, L, D], key and value [B, G, K, D] → [B, L, H, D]
    of bfloat16."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: tuple[Block, ...], scale: float
    ) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.blocks, ctx.scale = blocks, scale
        output = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
        q, grouped = (_by_group(each, key) for each in (query, output.transpose(1, 2)))
        for rows, block, bias in _parts(blocks, query):
            weights = _weights(q[rows, :, :, block.queries], key[rows, :, block.keys], bias, scale)
            # In units of the largest: where all are equal, their rounding would not average out.
            largest = weights.amax(-1, keepdim=True)
            seen = _product(weights.div_(largest), value[rows, :, block.keys].mT).mul_(largest)
            place = grouped[rows, :, :, block.queries]
            place.copy_(seen.view(place.shape))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With weights P of scores S, and g = ∂/∂output: ∂/∂V = Pᵀ g; ∂/∂P = g Vᵀ;
        ∂/∂S = P · (∂/∂P − Σ P · ∂/∂P); ∂/∂Q = scale · ∂/∂S K; ∂/∂K = scale · ∂/∂Sᵀ Q."""
        query, key, value = ctx.saved_tensors
        q, g = (_by_group(each, key) for each in (query, gradients[0].transpose(1, 2)))
        by_query = torch.empty_like(q)
        by_key, by_value = (torch.zeros_like(key, dtype=torch.float32) for _ in range(2))
        for rows, block, bias in _parts(ctx.blocks, query):
            queries, k = q[rows, :, :, block.queries], key[rows, :, block.keys]
            arriving = g[rows, :, :, block.queries].flatten(2, 3)
            weights = _weights(queries, k, bias, ctx.scale)
            slopes = _product(arriving, value[rows, :, block.keys]).mul_(weights)
            slopes.addcmul_(weights, slopes.sum(-1, keepdim=True), value=-1.0)
            by_scores = slopes.mul_(ctx.scale).to(query.dtype)
            rounded = weights.to(query.dtype).mT
            by_value[rows, :, block.keys] += torch.matmul(rounded, arriving)
            by_key[rows, :, block.keys] += torch.matmul(by_scores.mT, queries.flatten(2, 3))
            by_query[rows, :, :, block.queries] = torch.matmul(by_scores, k).view(queries.shape)
        return by_query.flatten(1, 2), by_key.to(key.dtype), by_value.to(key.dtype), None, None


def _by_group(of_heads: Tensor, key: Tensor) -> Tensor:
    """[B, H, L, D] → [B, G, H/G, L, D]: the heads that share keys [B, G, K, D]."""
    return of_heads.unflatten(1, (key.shape[1], -1))


def _weights(queries: Tensor, keys: Tensor, bias: Tensor, scale: float) -> Tensor:
    """What each query [b, G, n, q, D] takes of each key [b, G, k, D], float32 [b, G, n · q, k]."""
    b, _, _, q, _ = queries.shape
    scores = _product(queries.flatten(2, 3), keys).mul_(scale)
    scores.view(b, -1, q, scores.shape[-1]).add_(bias)
    return scores.softmax(-1)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """float32 one · otherᵀ of [..., n, D] and [..., m, D], bfloat16 or rounded so."""
    products = torch.backends.mkldnn.matmul
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        return torch.matmul(one.float(), other.float().mT)
    finally:
        products.fp32_precision = before
