"""LLaVA: a CLIP tower, an MLP projector and any decoder (LLaVA-Med, HuatuoGPT-Vision)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medray.policy.architectures.base import ATTENTION_AND_MLP, Group


class Llava:
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

    def picture(self, processed: Mapping[str, Any]) -> np.ndarray:
        pixels = np.asarray(processed["pixel_values"][0], dtype=np.float32)
        return np.ascontiguousarray(pixels)

    def prompt_position_ids(
        self, prompt_ids: np.ndarray, picture_shape: tuple[int, ...], image_token: int
    ) -> tuple[np.ndarray, int]:
        length = len(prompt_ids)
        return np.arange(length, dtype=np.int64)[None], length

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        out = model.model.get_image_features(
            pixel_values=torch.stack(list(pictures)), return_dict=True
        )
        return list(out.pooler_output)
