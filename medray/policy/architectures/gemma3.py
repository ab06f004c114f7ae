"""Gemma 3 and MedGemma: image tokens see each other, and most layers see a window only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medray.policy.architectures.base import ATTENTION_AND_MLP, Architecture, Group


class Gemma3(Architecture):
    """`Gemma3ForConditionalGeneration` with one crop per image.

    Its projector is a bare matrix, no linear layer, so that LoRA cannot adapt it.
    """

    name = "Gemma3ForConditionalGeneration"
    lora_targets: Mapping[Group, str] = {
        "language": rf"language_model\..*\.({ATTENTION_AND_MLP})",
        "vision": r"vision_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    }
    group_marks: Mapping[Group, tuple[str, ...]] = {
        "language": ("language_model.", "lm_head."),
        "projector": ("multi_modal_projector.",),
        "vision": ("vision_tower.",),
    }
    adapters_in_vllm: tuple[Group, ...] = ("language",)
    image_sees_itself = True

    def image_tokens(self, config: Mapping[str, Any]) -> int:
        return int(config.get("mm_tokens_per_image", 256))

    def picture_tokens(self, config: Any, shape: tuple[int, ...]) -> int:
        size = config.vision_config.image_size
        if shape != (3, size, size):
            raise ValueError(f"an image becomes {shape[1]} × {shape[2]} px, not {size} × {size}")
        return int(config.mm_tokens_per_image)

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        out = model.model.get_image_features(
            pixel_values=torch.stack(list(pictures)), return_dict=True
        )
        return list(out.pooler_output)
