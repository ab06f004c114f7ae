"""Host memory that weights pass through on their way from a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

ALIGNED = 64  # bytes


class Staging:
    """One block, made once and used by every update: pinned, so that the bus copies into it at its
    full speed, and in one piece, because the allocator rounds each piece up to a power of two.

    What it returns is valid until the next update: Ray has copied it into the object store by then.
    """

    def __init__(self, size: int, *, pin: bool = True) -> None:
        self._block = torch.empty(size, dtype=torch.uint8, pin_memory=pin)
        self._places: dict[str, tuple[int, int]] = {}  # first byte and bytes of each tensor
        self._used = 0

    def to_host(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor on the host: in the block, or in memory of its own if there is no room."""
        first, size = self._places.get(name) or (self._used, tensor.nbytes)
        if size != tensor.nbytes or first + size > len(self._block):
            return tensor.cpu()
        if name not in self._places:
            self._places[name] = first, size
            self._used = -(-(first + size) // ALIGNED) * ALIGNED
        copy = self._block[first : first + size].view(tensor.dtype).view(tensor.shape)
        copy.copy_(tensor, non_blocking=True)
        if tensor.device.type == "cuda":
            torch.cuda.current_stream(tensor.device).synchronize()
        return copy


def staging_size(sizes: list[int]) -> int:
    """Bytes of a block that has room for tensors of these sizes."""
    return sum(-(-size // ALIGNED) * ALIGNED for size in sizes)
