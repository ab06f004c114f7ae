"""One file per architecture; this dict is the only registry."""

from __future__ import annotations

from medray.policy.architectures.base import Architecture, forest_obstacle, text_config
from medray.policy.architectures.llava import Llava
from medray.policy.architectures.qwen2_5_vl import Qwen2_5_VL

KNOWN: tuple[Architecture, ...] = (Llava(), Qwen2_5_VL())
ARCHITECTURES = {architecture.name: architecture for architecture in KNOWN}

__all__ = ["ARCHITECTURES", "Architecture", "forest_obstacle", "text_config"]
