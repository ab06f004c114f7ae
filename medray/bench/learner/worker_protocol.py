"""How a side takes its turns: one line of JSON asks for a repeat, one line answers.

Only one side computes at a time, whatever runs in its process between the turns.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn


class WorkerProtocol:
    """The worker's end of the conversation with `medray.bench.learner.variants`."""

    def __init__(self, commands: TextIO, answers: TextIO) -> None:
        self.commands, self.answers = commands, answers
        self.device = torch.device("cpu")
        self.command: dict[str, Any] = {}
        self.result: dict[str, Any] = {}
        self.begun = 0.0

    @classmethod
    def of_this_process(cls) -> WorkerProtocol:
        """Over stdin and stdout; whatever else writes to stdout writes to stderr from now on."""
        answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        return cls(sys.stdin, answers)

    def next(self) -> bool:
        """Wait to be asked; false where there is nothing left to do."""
        line = self.commands.readline()
        self.command = json.loads(line) if line.strip() else {}
        return bool(self.command)

    def ready(self, **facts: Any) -> None:
        """The model is built: tell what it takes, and count the peak from here."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        self.answer(
            facts
            | {
                "baseline_bytes": memory_now(self.device),
                "device": name_of(self.device),
                "on_cpu": self.device.type == "cpu",
            }
        )

    def begin(self) -> None:
        self._synchronise()
        self.begun = time.perf_counter()

    def end(self, loss: Tensor, policy: nn.Module) -> None:
        """Stop the clock; loss, peak memory and, where they are asked for, the gradients."""
        self._synchronise()
        seconds = time.perf_counter() - self.begun
        self.result = {"seconds": seconds, "peak_bytes": memory_peak(self.device)}
        self.result["loss"] = float(loss)
        if path := self.command.get("gradients"):
            self.result["gradient_norm"] = write_gradients(policy, Path(path))

    def report(self) -> None:
        """Answer the turn; on a GPU give back what the allocator keeps, if another side follows."""
        if self.command.get("release") and self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.answer(self.result)

    def answer(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), file=self.answers, flush=True)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def write_gradients(policy: nn.Module, path: Path) -> float:
    """All gradients as safetensors; their global norm."""
    from safetensors.torch import save_file

    found = {n: p.grad.cpu() for n, p in policy.named_parameters() if p.grad is not None}
    save_file({name: gradient.contiguous() for name, gradient in found.items()}, path)
    return float(sum(float(g.double().pow(2).sum()) for g in found.values()) ** 0.5)


def memory_now(device: torch.device) -> int:
    """Bytes allocated on the GPU; resident bytes of the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return _status("VmRSS")


def memory_peak(device: torch.device) -> int:
    """The most there has been: max_memory_allocated on a GPU since `ready`, else resident bytes.

    VmHWM is what ru_maxrss reports, without what a child inherits from the process it was
    forked from.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in (
        Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ):
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def name_of(device: torch.device) -> str:
    """The chip's own name."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "CPU"
