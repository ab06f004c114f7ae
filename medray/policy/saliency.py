"""Which parts of images some tokens of an answer depend on: gradient × input saliency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medray.policy.architectures.base import tokens_by_picture
from medray.policy.model.chat import Fit
from medray.policy.picture import Picture, as_tensor
from medray.policy.scoring.forest import Branch, build_forest
from medray.policy.scoring.scorer import Scorer, to_device

SMOOTHING = 1 / 24  # of the longer side: single pixels' gradients are mostly noise

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 exclusive


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuestion:
    """A question with its images, as the policy receives them.

    prompt_ids int64 [P] (expanded) and pictures as `ChatCodec.encode` returns them; `sizes` of the
    images themselves, (height, width) each; `fit` as `ChatCodec.fit` says.
    """

    prompt_ids: np.ndarray
    pictures: tuple[Picture, ...]
    sizes: tuple[tuple[int, int], ...]
    fit: Fit


def saliency(
    policy: Scorer, question: EncodedQuestion, answer_ids: np.ndarray, token_mask: np.ndarray
) -> list[np.ndarray]:
    """Heat map float32 [height, width] of each of the question's images, in [0, 1], 1 at the
    maximum of all of them.

    answer_ids int64 [T]; token_mask bool [T]: the tokens in question, at least one. The heat of
    a pixel is |Σ_channels x · ∂ Σ_mask log p / ∂x|, smoothed. All zeros if nothing depends on
    the image; what the processor crops away is zero as well. Adapter dropout must be off
    (`policy.eval()`). No parameter's gradient is computed.
    """
    parameter = next(policy.parameters())
    keys = tuple(str(number) for number in range(len(question.pictures)))
    branch = Branch(question.prompt_ids, keys, answer_ids, token_mask, np.zeros_like(token_mask))
    shapes = [picture.shape for picture in question.pictures]
    forest = build_forest([branch], dict(zip(keys, shapes, strict=True)), policy.layout)
    by_key = {
        key: as_tensor(picture, parameter.device, parameter.dtype).requires_grad_()
        for key, picture in zip(keys, question.pictures, strict=True)
    }
    x = [by_key[key] for key in forest.image_keys]
    device_forest = to_device(forest, policy.layout, parameter.device)
    with torch.enable_grad():
        total_logp = policy(device_forest, x)["policy_logp"].sum()
    gradients = torch.autograd.grad(total_logp, [by_key[key] for key in keys])
    tokens = tokens_by_picture(
        int((question.prompt_ids == policy.layout.image_token).sum()), shapes
    )
    heats = []
    for key, gradient, count, size in zip(keys, gradients, tokens, question.sizes, strict=True):
        product = (gradient.float() * by_key[key].detach().float()).cpu().numpy()
        heat = policy.layout.architecture.heat(product, count)
        heats.append(ONTO_IMAGE[question.fit](heat, size))
    return _normalised(heats)


def hottest_box(heats: Sequence[np.ndarray], share: float) -> tuple[int, Box] | None:
    """The box around the largest connected component of the hottest `share` of maps [H, W], and
    the number of the map that it is on.

    Pixels that touch only at a corner are connected. Pixels without heat are never part of it,
    so maps of zeros have no box.
    """
    from skimage.measure import label, regionprops

    least = np.quantile(np.concatenate([heat.ravel() for heat in heats]), 1.0 - share)
    components = [
        (number, component)
        for number, heat in enumerate(heats)
        for component in regionprops(label((heat >= least) & (heat > 0.0)))
    ]
    if not components:
        return None
    number, largest = max(components, key=lambda found: found[1].num_pixels)
    y0, x0, y1, x1 = largest.bbox
    return number, (int(x0), int(y0), int(x1), int(y1))


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


def _normalised(heats: Sequence[np.ndarray]) -> list[np.ndarray]:
    maximum = max(float(heat.max()) for heat in heats)
    return [(heat / maximum if maximum > 0.0 else heat).astype(np.float32) for heat in heats]


ONTO_IMAGE = {"crop": _from_centre_crop, "pad": _from_padded_square, "stretch": _resized}
