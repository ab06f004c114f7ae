"""The learning rate of a step, and how its gradient is summed."""

from __future__ import annotations

import math

from medray.config import Config, LearnerConfig

BUCKET = 200_000_000  # values of gradients that are reduced together, at most


def learning_rate(config: LearnerConfig, step: int, total: int) -> float:
    """For step 1 … total: linear warm-up, then constant, or cosine decay to zero at total + 1."""
    if step <= config.warmup_steps:
        return config.lr * step / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    done = (step - 1 - config.warmup_steps) / max(1, total - config.warmup_steps)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * done))


def sums_in_float32(config: Config) -> bool:
    """Whether gradients of several micro-batches are added in float32 although weights are not.

    In bfloat16, which has 8 bits, a sum stops to grow once it is 256 times its terms. DeepSpeed
    keeps a sum of another dtype where it shards gradients (ZeRO-2 and 3).
    """
    return config.model.dtype == "bfloat16" and config.learner.zero_stage >= 2


def bucket_size(trained: int) -> int:
    """Values of DeepSpeed's buffer for gradients on their way: no more than there are.

    Its own default is 500 million, which ZeRO allocates for every backward pass, also for an
    adapter of one million.
    """
    return max(1, min(BUCKET, trained))
