"""Weights that do not train, while their GPU is lent to a generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FrozenWeights:
    """Moves them off the GPU and back.

    They never change: they are copied to the host once, and leaving the GPU is free from then on.
    Pinned, so that they return at the speed of the bus. Buffers, which are small, are always
    copied: some are caches that change.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device) -> None:
        tensors = {id(t): t for m in models for t in (*m.parameters(), *m.buffers())}
        frozen = [t for t in tensors.values() if not t.requires_grad]  # shared ones once
        self.parameters = [t for t in frozen if isinstance(t, nn.Parameter)]
        self.buffers = [t for t in frozen if not isinstance(t, nn.Parameter)]
        self.device = device
        self._on_host: list[Tensor] = []

    def to_host(self) -> None:
        """Move them to host memory."""
        if not self._on_host:
            self._on_host = [self._copied(p) for p in self.parameters]
        for parameter, copy in zip(self.parameters, self._on_host, strict=True):
            parameter.data = copy
        for buffer in self.buffers:
            buffer.data = buffer.data.cpu()

    def to_device(self) -> None:
        """Move them to the device, in the order of its other work."""
        for tensor in (*self.parameters, *self.buffers):
            tensor.data = tensor.data.to(self.device, non_blocking=True)

    def _copied(self, parameter: Tensor) -> Tensor:
        copy = parameter.data.cpu()
        return copy.pin_memory() if self.device.type == "cuda" else copy
