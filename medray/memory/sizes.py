"""The sizes of a model that memory depends on, read from it without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from medray.memory.activations import bytes_per_token
from medray.policy.export.weight_update import export_items
from medray.policy.model.tuning import base_model


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of a tuned model. `sent`: parameters of one update of generators, in mode full.

    `token_bytes`: kept per token by the decoder for the backward pass; `layer_bytes`: made again
    per token in the backward pass of a layer, under checkpointing; `cache_values`: numbers that a
    generator keeps per token of a sequence, keys and values of all layers.
    """

    parameters: int
    trained: int
    adapter: int
    sent: int
    vocabulary: int
    token_bytes: float
    cache_values: int
    layer_bytes: float = 0.0


def sizes_of(policy: nn.Module, *, checkpointing: bool) -> Sizes:
    """Of a policy on the meta device, tuned as it is to be trained, in its dtype."""
    text: Any = base_model(policy).config.get_text_config()
    heads = int(getattr(text, "num_key_value_heads", None) or text.num_attention_heads)
    per_head = int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    named = list(policy.named_parameters())
    token_bytes, layer_bytes = bytes_per_token(policy, checkpointing=checkpointing)
    return Sizes(
        parameters=sum(p.numel() for name, p in named if ".lora_" not in name),
        trained=sum(p.numel() for _, p in named if p.requires_grad),
        adapter=sum(p.numel() for name, p in named if ".lora_" in name),
        sent=sum(torch.Size(item.shape).numel() for item in export_items(policy, "full")),
        vocabulary=int(text.vocab_size),
        token_bytes=token_bytes,
        cache_values=2 * int(text.num_hidden_layers) * heads * per_head,
        layer_bytes=layer_bytes,
    )
