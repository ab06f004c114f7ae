"""InternVL3 and InternVL3.5 in the transformers layout: an image is tiles and a thumbnail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medray.policy.architectures.base import (
    ATTENTION_AND_MLP,
    Architecture,
    Group,
    require_feature_layer,
)


class InternVL(Architecture):
    """`InternVLForConditionalGeneration`.

    A picture is [tiles, 3, h, w]: the image cut in tiles, then, if there are several, the entire
    image once more. How many depends on its shape.
    """

    name = "InternVLForConditionalGeneration"
    lora_targets: Mapping[Group, str] = {
        "language": rf"language_model\..*\.({ATTENTION_AND_MLP})",
        "projector": r"multi_modal_projector\.linear_[12]",
        "vision": r"vision_tower\..*\.(q_proj|k_proj|v_proj|projection_layer|fc1|fc2)",
    }
    group_marks: Mapping[Group, tuple[str, ...]] = {
        "language": ("language_model.", "lm_head."),
        "projector": ("multi_modal_projector.",),
        "vision": ("vision_tower.",),
    }

    adapters_in_vllm: tuple[Group, ...] = ("language",)

    def image_tokens(self, config: Mapping[str, Any]) -> int:
        return 0

    def picture_tokens(self, config: Any, shape: tuple[int, ...]) -> int:
        vision = config.vision_config
        if tuple(shape[-2:]) != tuple(vision.image_size):
            height, width = vision.image_size
            raise ValueError(f"a tile has {shape[-2]} × {shape[-1]} px, not {height} × {width}")
        require_feature_layer(config)
        patches = [s // p for s, p in zip(vision.image_size, vision.patch_size, strict=True)]
        return shape[0] * int(patches[0] * patches[1] * config.downsample_ratio**2)

    def pictures(
        self, processed: Mapping[str, Any], patches: Sequence[int]
    ) -> tuple[np.ndarray, ...]:
        tiles = np.asarray(processed["pixel_values"], dtype=np.float32)
        ends = np.cumsum(patches)[:-1]
        return tuple(np.ascontiguousarray(own) for own in np.split(tiles, ends))

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        out = model.model.get_image_features(
            pixel_values=torch.cat(list(pictures)),
            vision_feature_layer=model.config.vision_feature_layer,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy,
            return_dict=True,
        )
        by_picture = out.pooler_output.split([len(picture) for picture in pictures])
        return [tiles.flatten(0, 1) for tiles in by_picture]

    def heat(self, product: np.ndarray, tokens: int) -> np.ndarray:
        """The last tile's: it shows the entire image."""
        return np.abs(product[-1].sum(0))
