"""v': the image with its lesion region corrupted, the visual contrast of a pair.

Everything outside the region and its feathered edge stays as it is, bit for bit; the same seed
gives the same bytes. What is done inside is in `medray.imaging.kinds`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.kinds import KINDS, WHOLE_ONLY, Patch
from medray.imaging.load import pixels_sha256
from medray.imaging.regions import labelled, region_mask, soft_mask
from medray.records import Region

WHOLE_IMAGE = "whole-image"
SALIENCY = "saliency"  # source and label of a region that the policy itself pointed at


@dataclass(frozen=True, slots=True, eq=False)
class Corrupted:
    """A corrupted image and how it came about.

    `image`: uint8 [H, W, 3]; `kind`: e.g. "diffusion step=500 feather=4"; `region_source`: where
    the region came from ("dataset", "phantom", "saliency", …) or "whole-image"; `sha256`:
    of the pixels.
    """

    image: np.ndarray
    kind: str
    region_source: str
    sha256: str


def corrupt(
    image: np.ndarray, regions: Iterable[Region], config: CorruptionConfig, *, seed: int
) -> Corrupted | None:
    """v' of one case, or None where the configuration gives this case none.

    `config.region`: lesion → the regions, None without any; lesion-or-saliency → the same, what
    the policy looked at having become a region before; lesion-or-whole → the regions,
    or noise of `whole_sigma` on the whole image; whole → the whole image, noise again being
    of `whole_sigma` (`sigma` is meant for a lesion); none → None. Only regions that
    `config.labels` names count, and what the policy looked at. A kind that changes the whole
    image does so in each case.

    image: uint8 [H, W, 3]. Raises ItemError mask-size | mask-missing | mask-unreadable |
    inpaint-no-surroundings.
    """
    if config.region == "none":
        return None
    whole_only = config.kind in WHOLE_ONLY
    if config.region == "whole" or (whole_only and config.region == "lesion-or-whole"):
        return corrupt_whole(image, config, seed)
    regions = tuple(regions)
    known = labelled(regions, config.labels) or looked_at(regions)
    mask = region_mask(known, *image.shape[:2])
    if mask is not None:
        source = "+".join(sorted({region.source for region in known}))
        return corrupt_inside(image, mask, source, config, seed)
    if config.region == "lesion-or-whole":
        return corrupt_whole(image, config.model_copy(update={"kind": "gaussian"}), seed)
    return None


def looked_at(regions: Iterable[Region]) -> tuple[Region, ...]:
    """Those that the policy itself pointed at."""
    return tuple(region for region in regions if region.source == SALIENCY)


def corrupt_whole(image: np.ndarray, config: CorruptionConfig, seed: int) -> Corrupted:
    """Corrupt every pixel of an image, uint8 [H, W, 3]; additive noise is of `whole_sigma`."""
    everywhere = np.ones(image.shape[:2], dtype=bool)
    settings = config.model_copy(update={"sigma": config.whole_sigma})
    chosen = settings if config.kind == "gaussian" else config
    return corrupt_inside(image, everywhere, WHOLE_IMAGE, chosen, seed)


def corrupt_inside(
    image: np.ndarray, mask: np.ndarray, source: str, config: CorruptionConfig, seed: int
) -> Corrupted:
    """Corrupt the pixels of a mask. image: uint8 [H, W, 3]; mask: bool [H, W], not empty."""
    if config.kind in WHOLE_ONLY and source != WHOLE_IMAGE:
        return corrupt_whole(image, config, seed)
    feather = 0 if mask.all() else config.feather
    soft = soft_mask(mask, feather) if feather else None
    patch = Patch.around(image, mask if soft is None else soft > 0)
    made, detail = KINDS[config.kind](patch, config, np.random.default_rng(seed))
    if soft is not None:
        share = soft[patch.rows, patch.columns][patch.inside][:, None]
        made = share * made + (1 - share) * patch.pixels()
    result = image.copy()
    np.clip(made, 0.0, 255.0, out=made)
    box, rounded = result[patch.rows, patch.columns], np.rint(made, out=made).astype(np.uint8)
    if patch.inside.all():
        box[...] = rounded.reshape(box.shape)  # forty times as fast
    else:
        box[patch.inside] = rounded
    words = [config.kind, detail, f"feather={feather}" if feather else ""]
    return Corrupted(result, " ".join(filter(None, words)), source, pixels_sha256(result))
