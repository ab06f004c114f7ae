"""Where in an image the policy looks for some tokens of an answer: gradient × input."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch

from medray.policy.scoring.forest import Branch, build_forest
from medray.policy.scoring.scorer import Scorer, to_device

SMOOTHING = 1 / 24  # of the longer side: gradients of single pixels are mostly noise

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 exclusive


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A question with its image, as the policy is shown them.

    prompt_ids int64 [P] (expanded) and picture as `ChatCodec.encode` gives them; `size` of the
    image itself, (height, width); `padded`: whether it was padded to a square, not cut to one.
    """

    prompt_ids: np.ndarray
    picture: np.ndarray
    size: tuple[int, int]
    padded: bool = False


def saliency(policy: Scorer, view: View, answer_ids: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Heat map float32 [height, width] of the view's image, in [0, 1], 1 at its hottest.

    answer_ids int64 [T]; read bool [T]: the tokens asked about, at least one. The heat of a
    pixel is |Σ_channels x · ∂ Σ_read log p / ∂x|, smoothed. All zeros where nothing depends on
    the image; what the processor cuts off is zero as well. Adapter dropout must be off
    (`policy.eval()`). No parameter's gradient is made.
    """
    parameter = next(policy.parameters())
    branch = Branch(view.prompt_ids, "picture", answer_ids, read, np.zeros_like(read))
    forest = build_forest([branch], {"picture": view.picture.shape}, policy.layout)
    x = torch.from_numpy(view.picture).to(parameter.device, parameter.dtype).requires_grad_()
    planted = to_device(forest, policy.layout, parameter.device)
    with torch.enable_grad():
        told = policy(planted, [x])["policy_logp"].sum()
    (gradient,) = torch.autograd.grad(told, x)
    product = (gradient.float() * x.detach().float()).cpu().numpy()
    tokens = int((view.prompt_ids == policy.layout.image_token).sum())
    if product.ndim == 4:  # patches of the whole image
        return _scaled(_resized(np.abs(_grid(product, tokens)), view.size))
    over = _over_padded if view.padded else _over_middle
    return _scaled(over(np.abs(product.sum(0)), view.size))


def hottest_box(heat: np.ndarray, share: float) -> Box | None:
    """The box around the largest connected part of the hottest `share` of a map [H, W].

    Pixels touch across corners as well. Pixels without heat are never part of it, so a map of
    zeros has no box.
    """
    from skimage.measure import label, regionprops

    hot = (heat >= np.quantile(heat, 1.0 - share)) & (heat > 0.0)
    parts = regionprops(label(hot))
    if not parts:
        return None
    y0, x0, y1, x1 = max(parts, key=lambda part: part.num_pixels).bbox
    return int(x0), int(y0), int(x1), int(y1)


def _grid(patches: np.ndarray, tokens: int) -> np.ndarray:
    """[1, gh, gw, patch] in the processor's order, merge block by merge block → [gh, gw]."""
    _, high, wide, _ = patches.shape
    merge = isqrt(high * wide // tokens)
    blocks = patches.sum(-1).reshape(high // merge, wide // merge, merge, merge)
    return blocks.transpose(0, 2, 1, 3).reshape(high, wide)


def _over_middle(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] of an image that was resized by its shorter side and cut to its middle: over
    the largest box of that shape in the middle of the image, and zero beside it."""
    scale = min(size[0] / heat.shape[0], size[1] / heat.shape[1])
    inner = tuple(max(1, round(scale * side)) for side in heat.shape)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    result = np.zeros(size, np.float32)
    result[top : top + inner[0], left : left + inner[1]] = _resized(heat, (inner[0], inner[1]))
    return result


def _over_padded(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] of an image in the middle of a square of its longer side: the image's part."""
    side = max(size)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    return _resized(heat, (side, side))[top : top + size[0], left : left + size[1]]


def _resized(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from skimage.filters import gaussian
    from skimage.transform import resize

    smooth = gaussian(heat.astype(np.float32), SMOOTHING * max(heat.shape), preserve_range=True)
    return resize(smooth, size, order=1, preserve_range=True)


def _scaled(heat: np.ndarray) -> np.ndarray:
    top = float(heat.max())
    return (heat / top if top > 0.0 else heat).astype(np.float32)
