"""The last decoder layer where something is read, and nowhere else.

Only keys and values of the last layer are needed at every token. Its query and output
projections and its MLP work row by row, so the rows that are not read are left out: of a model
with n layers, nearly one n-th of the work, forward and backward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

ROW_BY_ROW = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


@contextlib.contextmanager
def only_at(places: Tensor, language_model: Any) -> Iterator[None]:
    """Inside, the last layer's output is right at the flat `places` [U] and nowhere else.

    A layer that is made again in the backward pass would be made without this, so under
    gradient checkpointing the layer stays whole.
    """
    if language_model.is_gradient_checkpointing:
        yield
        return
    handles = []
    for name in ROW_BY_ROW:
        module = language_model.layers[-1].get_submodule(name)
        rows = _Rows(places)
        handles.append(module.register_forward_pre_hook(rows.take))
        handles.append(module.register_forward_hook(rows.put_back))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Rows:
    """[R, L, D] → the rows at `places`, and back among zeros."""

    def __init__(self, places: Tensor) -> None:
        self.places = places
        self.shape: tuple[int, ...] = ()

    def take(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (states,) = arguments
        self.shape = tuple(states.shape[:-1])
        return (states.flatten(0, 1)[self.places],)

    def put_back(self, module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        whole = output.new_zeros(self.shape[0] * self.shape[1], output.shape[-1])
        return whole.index_copy(0, self.places, output).unflatten(0, self.shape)
