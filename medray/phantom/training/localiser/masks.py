"""Where lesion and heart of a phantom are, pixel by pixel: the truth that the localiser learns.

Nothing is drawn here: the same chest is rendered with and without what is looked for, and the
pixels that differ are marked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medray.phantom.studies.render import Geometry, draw_geometry, render
from medray.phantom.studies.study import study_truth
from medray.phantom.studies.truth import Truth, stream


@dataclass(frozen=True, slots=True)
class Located:
    """N studies and where their lesions and hearts are; a study without a lesion marks nothing."""

    images: np.ndarray  # [N, 48, 48] uint8
    lesions: np.ndarray  # [N, 48, 48] bool
    hearts: np.ndarray  # [N, 48, 48] bool
    kinds: tuple[str, ...]  # of the lesions; "none" without

    def __len__(self) -> int:
        return len(self.kinds)


def locate_studies(seed: int, split: str, start: int, count: int) -> Located:
    """Studies start … start+count-1 of a split."""
    images, lesions, hearts, kinds = [], [], [], []
    for index in range(start, start + count):
        truth = study_truth(seed, split, index)
        geometry = draw_geometry(stream(seed, split, index, "image"))
        image, _ = render(truth, geometry)
        images.append(image[:, :, 0])
        lesions.append(lesion_mask(truth, geometry))
        hearts.append(heart_mask(truth, geometry))
        kinds.append(truth.kind)
    return Located(np.stack(images), np.stack(lesions), np.stack(hearts), tuple(kinds))


def lesion_mask(truth: Truth, geometry: Geometry) -> np.ndarray:
    """bool [48, 48]: every pixel that the lesion changes, and what it encloses (a cavity)."""
    from scipy.ndimage import binary_fill_holes

    image, bare = render(truth, geometry)[0], render(truth, geometry, lesion=False)[0]
    return np.asarray(binary_fill_holes((image != bare)[:, :, 0]))


def heart_mask(truth: Truth, geometry: Geometry) -> np.ndarray:
    """bool [48, 48]: the heart, as if nothing lay over it.

    An enlarged heart differs from a normal one in two crescents around it: with all between
    them they are the enlarged heart, and what is left without them is the normal one.
    """
    from skimage.measure import label
    from skimage.morphology import convex_hull_image

    normal, enlarged = (
        render(replace(truth, heart=size), geometry, lesion=False)[0][:, :, 0]
        for size in ("normal", "enlarged")
    )
    crescents = normal != enlarged
    filled = np.asarray(convex_hull_image(crescents))
    if truth.heart == "enlarged":
        return filled
    areas = label(filled & ~crescents, connectivity=1)  # specks are equal by chance
    return np.asarray(areas == np.bincount(areas[areas > 0]).argmax())
