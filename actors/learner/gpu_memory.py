"""Memory of the GPU that a rank shares with a generator."""

from __future__ import annotations

import time

import torch

from medray.errors import RunFailed

LEAVING = 60.0  # seconds for the memory of a process that was ended to be free


def allocated(device: torch.device) -> int:
    """Bytes of this process's tensors on the device; 0 on a CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def wait_for_memory(device: torch.device, size: int) -> None:
    """Return once `size` bytes are free: a generator may just have been ended.

    Raises RunFailed if they are not within LEAVING seconds.
    """
    deadline = time.monotonic() + LEAVING
    while device.type == "cuda" and (free := torch.cuda.mem_get_info(device)[0]) < size:
        if time.monotonic() > deadline:
            raise RunFailed(
                "the learner's GPU",
                f"{free / 2**30:.1f} GiB are free, and {size / 2**30:.1f} GiB left it before",
                "see `nvidia-smi` for what else uses it, or lower generator.memory",
            )
        time.sleep(0.1)
