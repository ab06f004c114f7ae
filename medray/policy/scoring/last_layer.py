"""Run the last decoder layer only at the positions that are read.

The other tokens need only keys and values in the last layer. Its query and output projections
and its MLP work row by row, so the rows that are not read are left out: of a model with n
layers, nearly one n-th of the work, forward and backward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

ROW_BY_ROW = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


@contextlib.contextmanager
def last_layer_only_at(positions: Tensor, language_model: Any) -> Iterator[None]:
    """Inside, the last layer's output is valid at the flat `positions` [U] only.

    Does nothing under gradient checkpointing, where the backward pass recomputes the layer and
    would do so without the hooks; nor where the last layer has no attention (it is recurrent).
    """
    if language_model.is_gradient_checkpointing or not hasattr(
        language_model.layers[-1], "self_attn"
    ):
        yield
        return
    handles = []
    for name in ROW_BY_ROW:
        module = language_model.layers[-1].get_submodule(name)
        rows = _Rows(positions)
        handles.append(module.register_forward_pre_hook(rows.take))
        handles.append(module.register_forward_hook(rows.put_back))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Rows:
    """[R, L, D] → the rows at `positions` [U, D], and back, with zeros elsewhere."""

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions
        self.shape: tuple[int, ...] = ()

    def take(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (states,) = arguments
        self.shape = tuple(states.shape[:-1])
        return (states.flatten(0, 1)[self.positions],)

    def put_back(self, module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        zeros = output.new_zeros(self.shape[0] * self.shape[1], output.shape[-1])
        return zeros.index_copy(0, self.positions, output).unflatten(0, self.shape)
