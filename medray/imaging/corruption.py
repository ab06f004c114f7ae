"""v': the image with its lesion region corrupted, the visual contrast of a pair.

Everything outside the region stays as it is, bit for bit; the same seed gives the same
bytes. To add a kind, add a function to `KINDS` and its name to `CorruptionConfig.kind`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.load import pixels_sha256
from medray.imaging.regions import region_mask
from medray.records import Region

WHOLE_IMAGE = "whole-image"


@dataclass(frozen=True, slots=True, eq=False)
class Corrupted:
    """A corrupted image and how it came about.

    `image`: uint8 [H, W, 3]; `kind`: e.g. "gaussian sigma=45"; `region_source`: where the
    region came from ("dataset", "phantom", …) or "whole-image"; `sha256`: of the pixels.
    """

    image: np.ndarray
    kind: str
    region_source: str
    sha256: str


def gaussian(image: np.ndarray, mask: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Add N(0, sigma²) on the 0–255 scale to each channel of each masked pixel, clipped."""
    inside = image[mask].astype(np.float64)
    noise = np.random.default_rng(seed).normal(0.0, sigma, inside.shape)
    return np.rint(np.clip(inside + noise, 0.0, 255.0)).astype(np.uint8)


def black(image: np.ndarray, mask: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Zero. `sigma` and `seed` are not used."""
    return np.zeros_like(image[mask])


def blur(image: np.ndarray, mask: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """The image blurred by a Gaussian of `sigma` pixels, seen through the mask."""
    from skimage import filters

    smooth = filters.gaussian(
        image.astype(np.float32), sigma=sigma, channel_axis=-1, preserve_range=True
    )
    return np.rint(np.clip(smooth[mask], 0.0, 255.0)).astype(np.uint8)


# kind → function of (image [H, W, 3], mask [H, W] with n pixels, sigma, seed) giving [n, 3]
KINDS: dict[str, Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]] = {
    "gaussian": gaussian,
    "black": black,
    "blur": blur,
}


def corrupt(
    image: np.ndarray, regions: Iterable[Region], config: CorruptionConfig, *, seed: int
) -> Corrupted | None:
    """v' of one case, or None where the configuration gives this case none.

    `config.region`: lesion → the regions, None without any; lesion-or-whole → the regions,
    or noise of `whole_sigma` on the whole image; whole → the whole image, noise again being
    of `whole_sigma` (`sigma` is meant for a lesion); none → None.

    image: uint8 [H, W, 3]. Raises ItemError mask-size | mask-missing | mask-unreadable.
    """
    if config.region == "none":
        return None
    if config.region == "whole":
        sigma = config.whole_sigma if config.kind == "gaussian" else config.sigma
        return corrupt_whole(image, config.kind, sigma, seed)
    known = tuple(regions)
    mask = region_mask(known, *image.shape[:2])
    if mask is not None:
        source = "+".join(sorted({region.source for region in known}))
        return corrupt_inside(image, mask, source, config.kind, config.sigma, seed)
    if config.region == "lesion-or-whole":
        return corrupt_whole(image, "gaussian", config.whole_sigma, seed)
    return None


def corrupt_whole(image: np.ndarray, kind: str, sigma: float, seed: int) -> Corrupted:
    """Corrupt every pixel of an image, uint8 [H, W, 3]."""
    everywhere = np.ones(image.shape[:2], dtype=bool)
    return corrupt_inside(image, everywhere, WHOLE_IMAGE, kind, sigma, seed)


def corrupt_inside(
    image: np.ndarray, mask: np.ndarray, source: str, kind: str, sigma: float, seed: int
) -> Corrupted:
    """Corrupt the pixels of a mask. image: uint8 [H, W, 3]; mask: bool [H, W]."""
    result = image.copy()
    result[mask] = KINDS[kind](image, mask, sigma, seed)
    described = kind if kind == "black" else f"{kind} sigma={sigma:g}"
    return Corrupted(result, described, source, pixels_sha256(result))


def case_seed(case_id: str, seed: int) -> int:
    """The run's seed made particular to a case, in [0, 2⁶³): the same in every process."""
    digest = hashlib.sha256(f"{seed}:{case_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
