"""What is true of a chest that is reported on in paragraphs: more than one thing has a side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medray.phantom.studies.truth import HEARTS, KINDS, SIDES, SIZES, ZONES, Truth, pick

DENSITIES = ("dense", "faint")
DEVICES = ("line", "tube", "none")
BONES = ("intact", "intact", "fracture")  # drawn uniformly: a third of the chests has a fracture
WITH_DENSITY = ("nodule", "opacity")


@dataclass(frozen=True, slots=True)
class ChestTruth(Truth):
    """A `Truth` with the lesion's density, a line or tube, and the clavicles.

    The lesion, the device and the fracture have each their own side.

    >>> ChestTruth("none", "normal", device="line", device_side="left", bones="intact").attributes()
    {'kind': 'none', 'heart': 'normal', 'device': 'line', 'device_side': 'left', 'bones': 'intact'}
    """

    density: str = ""
    device: str = ""
    device_side: str = ""
    bones: str = ""
    bones_side: str = ""

    values: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "kind": KINDS,
        "side": SIDES,
        "zone": ZONES,
        "size": SIZES,
        "density": DENSITIES,
        "heart": HEARTS,
        "device": DEVICES,
        "device_side": SIDES,
        "bones": ("intact", "fracture"),
        "bones_side": SIDES,
    }


def draw_chest_truth(rng: np.random.Generator) -> ChestTruth:
    """A truth whose applicable attributes are drawn independently."""
    kind, side, zone, size, density = (
        pick(rng, values) for values in (KINDS, SIDES, ZONES, SIZES, DENSITIES)
    )
    heart, device, device_side, bones, bones_side = (
        pick(rng, values) for values in (HEARTS, DEVICES, SIDES, BONES, SIDES)
    )
    lesion = kind != "none"
    return ChestTruth(
        kind=kind,
        heart=heart,
        side=side if lesion else "",
        zone=zone if lesion and kind != "effusion" else "",
        size=size if lesion else "",
        density=density if kind in WITH_DENSITY else "",
        device=device,
        device_side=device_side if device != "none" else "",
        bones=bones,
        bones_side=bones_side if bones == "fracture" else "",
    )
