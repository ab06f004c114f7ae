"""Attention masks of a forest: who sees whom, for each kind of layer."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from medray.policy.scoring.forest import Forest, Layout

Masks: TypeAlias = "Tensor | dict[str, Tensor]"


def attention_masks(forest: Forest, layout: Layout, device: torch.device) -> Masks:
    """Bool [R, 1, L, L]; by kind of layer if the model takes them so.

    A token sees those before it in its own branch. Layers that slide see of these the last
    `window`, counted in the branch, not in the row. In some architectures the tokens of an image
    see each other, too.
    """
    visible = tree_mask(torch.from_numpy(forest.subtree_end).to(device))
    if layout.architecture.image_sees_itself:
        block = torch.from_numpy(image_blocks(forest)).to(device)
        same = (block[:, :, None] == block[:, None, :]) & (block[:, :, None] >= 0)
        visible = visible | same[:, None]
    near = visible
    if layout.window is not None:
        depth = torch.from_numpy(forest.depth).to(device)
        near = visible & (depth[:, :, None] - depth[:, None, :] < layout.window)[:, None]
    if layout.masks_by_kind:
        return {"full_attention": visible, "sliding_attention": near}
    return near


def tree_mask(subtree_end: Tensor) -> Tensor:
    """Attention mask [R, 1, L, L]: j ≤ i < subtree_end[j] (see medray.policy.scoring.tree)."""
    index = torch.arange(subtree_end.shape[1], device=subtree_end.device)
    i, j = index[:, None], index[None, :]
    return ((j <= i) & (i < subtree_end[:, None, :]))[:, None]


def image_blocks(forest: Forest) -> np.ndarray:
    """int64 [R, L]: a number for each run of image tokens that follow one another; −1 elsewhere."""
    blocks = np.full(forest.ids.size, -1, dtype=np.int64)
    positions, length = forest.image_positions, forest.ids.shape[1]
    begins = np.diff(positions, prepend=-2) != 1
    begins |= positions % length == 0  # another row
    begins |= forest.depth.reshape(-1)[positions] == 0  # another tree
    blocks[positions] = np.cumsum(begins) - 1
    return blocks.reshape(forest.ids.shape)
