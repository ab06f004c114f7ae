"""The protocol of a worker: one line of JSON requests a repeat, one line returns its result.

Only one variant computes at a time, whatever else its process does between two repeats.
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

    def __init__(self, commands: TextIO, results: TextIO) -> None:
        self.commands, self.results = commands, results
        self.device = torch.device("cpu")
        self.command: dict[str, Any] = {}
        self.result: dict[str, Any] = {}
        self.start_time = 0.0

    @classmethod
    def of_this_process(cls) -> WorkerProtocol:
        """Use stdin and stdout; everything else that writes to stdout is redirected to stderr."""
        results = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        return cls(sys.stdin, results)

    def next_command(self) -> bool:
        """Wait for the next command; false if there is none left."""
        line = self.commands.readline()
        self.command = json.loads(line) if line.strip() else {}
        return bool(self.command)

    def ready(self, **facts: Any) -> None:
        """The model is built: report facts about it, and measure peak memory from here."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        self.send(
            facts
            | {
                "baseline_bytes": memory_now(self.device),
                "device": device_name(self.device),
                "on_cpu": self.device.type == "cpu",
            }
        )

    def start_timer(self) -> None:
        self._synchronise()
        self.start_time = time.perf_counter()

    def stop_timer(self, loss: Tensor, policy: nn.Module) -> None:
        """Stop the timer; record loss, peak memory and, if requested, the gradients."""
        self._synchronise()
        seconds = time.perf_counter() - self.start_time
        self.result = {"seconds": seconds, "peak_bytes": memory_peak(self.device)}
        self.result["loss"] = float(loss)
        if path := self.command.get("gradients"):
            self.result["gradient_norm"] = write_gradients(policy, Path(path))

    def report(self) -> None:
        """Send the result; on a GPU, free cached memory first if another variant follows."""
        if self.command.get("release") and self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.send(self.result)

    def send(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), file=self.results, flush=True)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def write_gradients(policy: nn.Module, path: Path) -> float:
    """Write all gradients as safetensors and return their global norm."""
    from safetensors.torch import save_file

    gradients = {n: p.grad.cpu() for n, p in policy.named_parameters() if p.grad is not None}
    save_file({name: gradient.contiguous() for name, gradient in gradients.items()}, path)
    return float(sum(float(g.double().pow(2).sum()) for g in gradients.values()) ** 0.5)


def memory_now(device: torch.device) -> int:
    """Bytes allocated on the GPU; resident bytes of the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return _status("VmRSS")


def memory_peak(device: torch.device) -> int:
    """Peak bytes: max_memory_allocated on a GPU since `ready`, peak resident bytes on a CPU.

    Reads VmHWM rather than ru_maxrss, which includes what a child inherits from the process it
    was forked from.
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


def device_name(device: torch.device) -> str:
    """The model name of the GPU or the CPU."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "CPU"
