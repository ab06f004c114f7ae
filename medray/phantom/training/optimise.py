"""The optimiser of the recipe's stages: AdamW, warm-up, cosine decay, clipped gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Progress = Callable[[str], None]
_WARMUP, _FLOOR, _REPORT_EVERY = 50, 0.02, 100


def _silent(text: str) -> None:
    """Discard the progress message."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Schedule of a stage: steps, studies per step, peak learning rate."""

    steps: int
    batch: int
    lr: float


class Optimiser:
    """The optimiser of one stage; parameters that need no gradient stay as they are."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], stage: Stage, progress: Progress = _silent
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.stage, self.done = stage, 0
        self.progress = progress
        self.adam = torch.optim.AdamW(self.parameters, lr=stage.lr, weight_decay=0.01, fused=True)

    def step(self, loss: Tensor) -> None:
        """Take one step on a scalar loss."""
        for group in self.adam.param_groups:
            group["lr"] = self.stage.lr * self._rate()
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.done += 1
        if self.done % _REPORT_EVERY == 0:
            self.progress(f"step {self.done} of {self.stage.steps}, loss {loss.item():.3f}")

    def _rate(self) -> float:
        """Fraction of the peak learning rate, in (0, 1]."""
        warm = min(1.0, (self.done + 1) / min(_WARMUP, self.stage.steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.done / self.stage.steps))
        return warm * (_FLOOR + (1 - _FLOOR) * cosine)
