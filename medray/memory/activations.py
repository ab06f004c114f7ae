"""What a backward pass keeps of a forward pass, found by running it without memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medray.policy.model.tuning import base_model
from medray.policy.scoring.last_layer import last_layer_only_at

SHORT, LONG = 64, 128  # row lengths; what grows with their square is left out


def bytes_per_token(policy: nn.Module, *, checkpointing: bool) -> tuple[float, float]:
    """Bytes kept per token of a row by the decoder of `policy`, which is on the meta device: until
    the backward pass of the output layer has ended, and only behind it.

    Tensors that autograd saves are counted, each once; weights are not. The last layer runs as in
    training, at the positions that are read, which hardly count. On the meta device attention is
    computed as a matrix [L, L], which kernels on GPUs never keep: only what grows with the tokens
    counts. With `checkpointing` it is what each layer begins with, and behind the output layer all
    that one layer keeps while its backward pass runs.
    """
    kept = (_kept(policy, LONG) - _kept(policy, SHORT) * 2**2) / (LONG - SHORT * 2**2)
    if not checkpointing:
        return kept, 0.0
    config = base_model(policy).config.get_text_config()
    width = next(policy.parameters()).element_size()
    layers = int(config.num_hidden_layers)
    return layers * config.hidden_size * width, kept / max(1, layers - 1)


def _kept(policy: nn.Module, length: int) -> int:
    """Bytes that a row of so many tokens leaves behind."""
    model: Any = base_model(policy)
    decoder = model.model.language_model
    hidden, weights = model.config.get_text_config().hidden_size, _storages(policy)
    found: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no identity is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage._cdata] = storage.nbytes()
        alive.append(tensor)
        return tensor

    dtype = next(policy.parameters()).dtype
    states = torch.empty(1, length, hidden, device="meta", dtype=dtype, requires_grad=True)
    mask = torch.ones(1, 1, length, length, device="meta", dtype=torch.bool)
    positions = torch.zeros(1, length, device="meta", dtype=torch.long)
    read = torch.zeros(1, device="meta", dtype=torch.long)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, last_layer_only_at(read, decoder):
        decoder(inputs_embeds=states, attention_mask=mask, position_ids=positions, use_cache=False)
    for address in weights:
        found.pop(address, None)
    return sum(found.values())


def _storages(policy: nn.Module) -> set[int]:
    """Identities of the weights' memory."""
    return {parameter.untyped_storage()._cdata for parameter in policy.parameters()}
