"""Qwen2.5-VL: images of any size, merged patches, three-dimensional rotary positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medray.policy.architectures.base import ATTENTION_AND_MLP, Group


class Qwen2_5_VL:
    """`Qwen2_5_VLForConditionalGeneration` with still images.

    A picture is its patches [t, gh, gw, patch]: the processor's rows unchanged, in its own order
    (merge block by merge block), in a shape that gives the grid.
    """

    name = "Qwen2_5_VLForConditionalGeneration"
    lora_targets: Mapping[Group, str] = {
        "language": rf"language_model\..*\.({ATTENTION_AND_MLP})",
        "projector": r"visual\.merger\.mlp\.[02]",
        "vision": r"visual\.blocks\..*\.(qkv|proj|gate_proj|up_proj|down_proj)",
    }
    group_marks: Mapping[Group, tuple[str, ...]] = {
        "language": ("language_model.", "lm_head."),
        "projector": ("visual.merger.",),
        "vision": ("visual.patch_embed.", "visual.blocks."),
    }
    vllm_names: Mapping[str, str] = {}

    def image_tokens(self, config: Mapping[str, Any]) -> int:
        return 0

    def picture(self, processed: Mapping[str, Any]) -> np.ndarray:
        rows = np.asarray(processed["pixel_values"], dtype=np.float32)
        grid = np.asarray(processed["image_grid_thw"])[0]
        return np.ascontiguousarray(rows.reshape(*grid, rows.shape[-1]))

    def prompt_position_ids(
        self, prompt_ids: np.ndarray, picture_shape: tuple[int, ...], image_token: int
    ) -> tuple[np.ndarray, int]:
        """Text counts up along all three axes; an image advances them by its longer side."""
        positions = np.nonzero(prompt_ids == image_token)[0]
        start, count = int(positions[0]), len(positions)
        t, gh, gw = picture_shape[:3]
        merge = isqrt(t * gh * gw // count)  # a token is merge × merge patches
        grid = (t, gh // merge, gw // merge)
        if grid[0] * grid[1] * grid[2] != count:
            raise ValueError(f"{count} image tokens for a grid of {t} × {gh} × {gw} patches")
        image = np.indices(grid, dtype=np.int64).reshape(3, -1) + start
        after = start + max(grid[1:])
        rest = len(prompt_ids) - start - count
        text_before = np.broadcast_to(np.arange(start), (3, start))
        text_after = np.broadcast_to(np.arange(after, after + rest), (3, rest))
        return np.concatenate([text_before, image, text_after], axis=1), after + rest

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        rows = torch.cat([picture.flatten(0, 2) for picture in pictures])
        grids = torch.tensor([picture.shape[:3] for picture in pictures], device=rows.device)
        out = model.model.get_image_features(
            pixel_values=rows, image_grid_thw=grids, return_dict=True
        )
        return list(out.pooler_output)
