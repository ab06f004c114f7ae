"""A trained adapter on disk, for tests that continue one."""

from __future__ import annotations

from pathlib import Path

import torch

from medray.config import LoraConfig, ModelConfig
from medray.policy.model.loading import load_model, resolve_model_path
from medray.policy.model.tuning import prepare_policy


def save_adapter(path: Path, dtype: str, lora: LoraConfig, scale: float) -> Path:
    """Save an adapter of the shipped model with random weights, so that its outputs differ."""
    base = load_model(resolve_model_path("phantom/base"), dtype)
    rng = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(3)  # PEFT draws A
        policy = prepare_policy(base, ModelConfig(lora=lora))
    for name, p in policy.named_parameters():
        if ".lora_B." in name:
            p.data += scale * torch.randn(p.shape, generator=rng)
    policy.save_pretrained(path)
    return path
