"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: images of any size, merged patches, rotary positions in 3-D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medray.policy.architectures.base import (
    ATTENTION_AND_MLP,
    Architecture,
    Group,
    tokens_by_picture,
)


class Qwen2_5_VL(Architecture):
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

    def image_tokens(self, config: Mapping[str, Any]) -> int:
        return 0

    def picture_tokens(self, config: Any, shape: tuple[int, ...]) -> int:
        vision = config.vision_config
        patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        if shape[-1] != patch:
            raise ValueError(f"a patch has {shape[-1]} values, not {patch}")
        t, height, width = shape[:3]
        return t * height * width // vision.spatial_merge_size**2

    def pictures(
        self, processed: Mapping[str, Any], patches: Sequence[int]
    ) -> tuple[np.ndarray, ...]:
        rows = np.asarray(processed["pixel_values"], dtype=np.float32)
        grids = np.asarray(processed["image_grid_thw"])
        parts = np.split(rows, np.cumsum(grids.prod(axis=1))[:-1])
        return tuple(
            np.ascontiguousarray(own.reshape(*grid, rows.shape[-1]))
            for own, grid in zip(parts, grids, strict=True)
        )

    def prompt_position_ids(
        self, prompt_ids: np.ndarray, shapes: Sequence[tuple[int, ...]], image_token: int
    ) -> tuple[np.ndarray, int]:
        """Text counts up along all three axes; an image advances them by its longer side."""
        places = np.nonzero(prompt_ids == image_token)[0]
        parts: list[np.ndarray] = []
        read, after = 0, 0  # tokens, and the position of the next one
        for shape, count in zip(shapes, tokens_by_picture(len(places), shapes), strict=True):
            start, places = int(places[0]), places[count:]
            parts.append(_counted(after, start - read))
            after += start - read
            grid = _merged_grid(shape, count)
            parts.append(np.indices(grid, dtype=np.int64).reshape(3, -1) + after)
            read, after = start + count, after + max(grid[1:])
        rest = len(prompt_ids) - read
        return np.concatenate([*parts, _counted(after, rest)], axis=1), after + rest

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        return list(self._towers_output(model, pictures).pooler_output)

    def heat(self, product: np.ndarray, tokens: int) -> np.ndarray:
        """[1, gh, gw, patch] in the processor's order, merge block by merge block → [gh, gw]."""
        _, height, width, _ = product.shape
        merge = isqrt(height * width // tokens)
        blocks = product.sum(-1).reshape(height // merge, width // merge, merge, merge)
        return np.abs(blocks.transpose(0, 2, 1, 3).reshape(height, width))

    def _towers_output(self, model: Any, pictures: Sequence[Tensor]) -> Any:
        rows = torch.cat([picture.flatten(0, 2) for picture in pictures])
        grids = torch.tensor([picture.shape[:3] for picture in pictures], device=rows.device)
        return model.model.get_image_features(
            pixel_values=rows, image_grid_thw=grids, return_dict=True
        )


def _counted(first: int, count: int) -> np.ndarray:
    """Positions of text, int64 [3, count]: the same along all axes."""
    return np.broadcast_to(np.arange(first, first + count), (3, count))


def _merged_grid(shape: tuple[int, ...], count: int) -> tuple[int, int, int]:
    """The grid of an image's tokens. Raises ValueError if they are not as many."""
    t, gh, gw = shape[:3]
    merge = isqrt(t * gh * gw // count)  # a token is merge × merge patches
    grid = (t, gh // merge, gw // merge)
    if grid[0] * grid[1] * grid[2] != count:
        raise ValueError(f"{count} image tokens for a grid of {t} × {gh} × {gw} patches")
    return grid


class Qwen2_VL(Qwen2_5_VL):
    """`Qwen2VLForConditionalGeneration`: no windows in the tower, and other names for its MLP."""

    name = "Qwen2VLForConditionalGeneration"
    lora_targets: Mapping[Group, str] = {
        **Qwen2_5_VL.lora_targets,
        "vision": r"visual\.blocks\..*\.(qkv|proj|fc1|fc2)",
    }


class Qwen3_VL(Qwen2_5_VL):
    """`Qwen3VLForConditionalGeneration`: DeepStack.

    Features of early layers of the tower are added to the hidden states behind the decoder's
    first layers, at the image's tokens. A row of features holds all of them, one after the other:
    what replaces the embedding, then what each of these layers adds.
    """

    name = "Qwen3VLForConditionalGeneration"
    lora_targets: Mapping[Group, str] = {
        "language": rf"language_model\..*\.({ATTENTION_AND_MLP})",
        "projector": r"visual\.(merger|deepstack_merger_list\.\d+)\.linear_fc[12]",
        "vision": r"visual\.blocks\..*\.(qkv|proj|linear_fc[12])",
    }
    group_marks: Mapping[Group, tuple[str, ...]] = {
        "language": ("language_model.", "lm_head."),
        "projector": ("visual.merger.", "visual.deepstack_merger_list."),
        "vision": ("visual.patch_embed.", "visual.pos_embed.", "visual.blocks."),
    }
    # vLLM 0.31 miscounts the tokens that reach the mergers of DeepStack.
    adapters_in_vllm: tuple[Group, ...] = ("language",)

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        out = self._towers_output(model, pictures)
        last = torch.cat(list(out.pooler_output))
        rows = torch.cat([last, *out.deepstack_features], dim=-1)
        return list(rows.split([len(own) for own in out.pooler_output]))

    def language_inputs(
        self, embedded: Tensor, features: Tensor, image_positions: Tensor
    ) -> dict[str, Any]:
        replacing, *added = features.to(embedded.dtype).split(embedded.shape[-1], dim=-1)
        is_image = torch.zeros(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
        is_image.view(-1)[image_positions] = True
        return super().language_inputs(embedded, replacing, image_positions) | {
            "visual_pos_masks": is_image,
            "deepstack_visual_embeds": added,
        }
