"""The true attributes of a phantom study, and the random streams everything is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medray.seeds import array_stream

KINDS = ("nodule", "opacity", "effusion", "cavity", "none")
SIDES = ("left", "right")
ZONES = ("upper", "middle", "lower")
SIZES = ("small", "large")
HEARTS = ("normal", "enlarged")
VALUES = {"kind": KINDS, "side": SIDES, "zone": ZONES, "size": SIZES, "heart": HEARTS}


@dataclass(frozen=True, slots=True)
class Truth:
    """The attributes of a study; "" for one that does not apply.

    `side` is the patient's: a left lesion appears on the right of the image.

    >>> Truth(kind="effusion", heart="normal", side="left", size="small").attributes()
    {'kind': 'effusion', 'side': 'left', 'size': 'small', 'heart': 'normal'}
    """

    kind: str
    heart: str
    side: str = ""
    zone: str = ""
    size: str = ""

    values: ClassVar[Mapping[str, tuple[str, ...]]] = VALUES

    @property
    def has_lesion(self) -> bool:
        return self.kind != "none"

    def attributes(self) -> dict[str, str]:
        """The attributes that apply, in the order of `values`."""
        return {name: value for name in self.values if (value := getattr(self, name))}


def stream(seed: int, split: str, index: int, purpose: str) -> np.random.Generator:
    """The random stream of one purpose of one study, the same in every process and on any machine.

    Streams of different splits share nothing, so train, held-out and base studies never overlap.
    """
    return array_stream(f"medray-phantom/{seed}/{split}/{index}/{purpose}")


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """One of the choices, drawn uniformly."""
    return choices[int(rng.integers(len(choices)))]


def draw_truth(rng: np.random.Generator) -> Truth:
    """A truth whose applicable attributes are drawn uniformly and independently."""
    kind, heart, side, zone, size = (
        pick(rng, values) for values in (KINDS, HEARTS, SIDES, ZONES, SIZES)
    )
    if kind == "none":
        return Truth(kind, heart)
    return Truth(kind, heart, side, "" if kind == "effusion" else zone, size)
