"""The learning rate of a step."""

from __future__ import annotations

import math

from medray.config import LearnerConfig


def learning_rate(config: LearnerConfig, step: int, total: int) -> float:
    """For step 1 … total: linear warm-up, then constant, or cosine decay to zero at total + 1."""
    if step <= config.warmup_steps:
        return config.lr * step / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    done = (step - 1 - config.warmup_steps) / max(1, total - config.warmup_steps)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * done))
