"""LLaVA: a CLIP tower, an MLP projector and any decoder (LLaVA-Med, HuatuoGPT-Vision)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medray.policy.architectures.base import (
    ATTENTION_AND_MLP,
    Architecture,
    Group,
    require_feature_layer,
)


class Llava(Architecture):
    """`LlavaForConditionalGeneration` with a text model of any kind."""

    name = "LlavaForConditionalGeneration"
    lora_targets: Mapping[Group, str] = {
        "language": rf"language_model\..*\.({ATTENTION_AND_MLP})",
        "projector": r"multi_modal_projector\.linear_[12]",
        "vision": r"vision_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    }
    group_marks: Mapping[Group, tuple[str, ...]] = {
        "language": ("language_model.", "lm_head."),
        "projector": ("multi_modal_projector.",),
        "vision": ("vision_tower.",),
    }
    # transformers 5 saves CLIP towers without the name level that vLLM expects.
    vllm_names: Mapping[str, str] = {
        r"^(model\.)?vision_tower\.(?!vision_model\.)": "vision_tower.vision_model."
    }

    def image_tokens(self, config: Mapping[str, Any]) -> int:
        vision = config["vision_config"]
        patches = (int(vision["image_size"]) // int(vision["patch_size"])) ** 2
        return patches + (config.get("vision_feature_select_strategy") == "full")  # the class token

    def picture_tokens(self, config: Any, shape: tuple[int, ...]) -> int:
        size = config.vision_config.image_size
        if shape != (3, size, size):
            raise ValueError(f"an image becomes {shape[1]} × {shape[2]} px, not {size} × {size}")
        require_feature_layer(config)
        return self.image_tokens(config.to_dict())

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        out = model.model.get_image_features(
            pixel_values=torch.stack(list(pictures)), return_dict=True
        )
        return list(out.pooler_output)
