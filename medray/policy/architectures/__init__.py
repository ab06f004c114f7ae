"""One file per family of architectures; this dict is the only registry."""

from __future__ import annotations

from medray.policy.architectures.base import (
    Architecture,
    attention_window,
    forest_obstacle,
    layer_kinds,
    text_config,
)
from medray.policy.architectures.gemma3 import Gemma3
from medray.policy.architectures.internvl import InternVL
from medray.policy.architectures.llava import Llava
from medray.policy.architectures.qwen_vl import Qwen2_5_VL, Qwen2_VL, Qwen3_VL

KNOWN: tuple[Architecture, ...] = (
    Llava(),
    Qwen2_VL(),
    Qwen2_5_VL(),
    Qwen3_VL(),
    InternVL(),
    Gemma3(),
)
ARCHITECTURES = {architecture.name: architecture for architecture in KNOWN}

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "attention_window",
    "forest_obstacle",
    "layer_kinds",
    "text_config",
]
