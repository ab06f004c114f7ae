"""Which parts of an image some tokens of an answer depend on: gradient × input saliency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medray.policy.model.chat import Fit
from medray.policy.scoring.forest import Branch, build_forest
from medray.policy.scoring.scorer import Scorer, to_device

SMOOTHING = 1 / 24  # of the longer side: single pixels' gradients are mostly noise

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 exclusive


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A question with its image, as the policy receives them.

    prompt_ids int64 [P] (expanded) and picture as `ChatCodec.encode` returns them; `size` of the
    image itself, (height, width); `fit` as `ChatCodec.fit` says.
    """

    prompt_ids: np.ndarray
    picture: np.ndarray
    size: tuple[int, int]
    fit: Fit


def saliency(
    policy: Scorer, view: View, answer_ids: np.ndarray, token_mask: np.ndarray
) -> np.ndarray:
    """Heat map float32 [height, width] of the view's image, in [0, 1], 1 at its maximum.

    answer_ids int64 [T]; token_mask bool [T]: the tokens in question, at least one. The heat of
    a pixel is |Σ_channels x · ∂ Σ_mask log p / ∂x|, smoothed. All zeros if nothing depends on
    the image; what the processor crops away is zero as well. Adapter dropout must be off
    (`policy.eval()`). No parameter's gradient is computed.
    """
    parameter = next(policy.parameters())
    branch = Branch(view.prompt_ids, "image", answer_ids, token_mask, np.zeros_like(token_mask))
    forest = build_forest([branch], {"image": view.picture.shape}, policy.layout)
    x = torch.from_numpy(view.picture).to(parameter.device, parameter.dtype).requires_grad_()
    device_forest = to_device(forest, policy.layout, parameter.device)
    with torch.enable_grad():
        total_logp = policy(device_forest, [x])["policy_logp"].sum()
    (gradient,) = torch.autograd.grad(total_logp, x)
    product = (gradient.float() * x.detach().float()).cpu().numpy()
    tokens = int((view.prompt_ids == policy.layout.image_token).sum())
    heat = policy.layout.architecture.heat(product, tokens)
    return _normalised(ONTO_IMAGE[view.fit](heat, view.size))


def hottest_box(heat: np.ndarray, share: float) -> Box | None:
    """The box around the largest connected component of the hottest `share` of a map [H, W].

    Pixels that touch only at a corner are connected. Pixels without heat are never part of it,
    so a map of zeros has no box.
    """
    from skimage.measure import label, regionprops

    hot = (heat >= np.quantile(heat, 1.0 - share)) & (heat > 0.0)
    components = regionprops(label(hot))
    if not components:
        return None
    y0, x0, y1, x1 = max(components, key=lambda component: component.num_pixels).bbox
    return int(x0), int(y0), int(x1), int(y1)


def _from_centre_crop(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] of an image that was resized by its shorter side and centre-cropped, put on
    the largest box of that shape in the middle of the image; zero outside it."""
    scale = min(size[0] / heat.shape[0], size[1] / heat.shape[1])
    inner = tuple(max(1, round(scale * side)) for side in heat.shape)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    result = np.zeros(size, np.float32)
    result[top : top + inner[0], left : left + inner[1]] = _resized(heat, (inner[0], inner[1]))
    return result


def _from_padded_square(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heat [h, w] of an image that was padded to a square of its longer side, without padding."""
    side = max(size)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    return _resized(heat, (side, side))[top : top + size[0], left : left + size[1]]


def _resized(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from skimage.filters import gaussian
    from skimage.transform import resize

    smooth = gaussian(heat.astype(np.float32), SMOOTHING * max(heat.shape), preserve_range=True)
    return resize(smooth, size, order=1, preserve_range=True)


def _normalised(heat: np.ndarray) -> np.ndarray:
    maximum = float(heat.max())
    return (heat / maximum if maximum > 0.0 else heat).astype(np.float32)


ONTO_IMAGE = {"crop": _from_centre_crop, "pad": _from_padded_square, "stretch": _resized}
