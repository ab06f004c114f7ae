"""Draw a chest with clavicles, one of which may be broken, and a central line or a chest tube.

The chest and the lesion are those of `studies.render`; coordinates are fractions of the side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medray.phantom.paragraphs.truth import ChestTruth
from medray.phantom.studies.render import (
    Box,
    Geometry,
    bounding_box,
    draw_chest,
    draw_lesion,
    expose,
    grid,
    inside,
)

Point = tuple[float, float]
_LINE = ((0.35, -0.03), (0.45, 0.24), (0.47, 0.52))  # from the right of the neck, seen on the left
_TUBE = ((-0.02, 0.66), (0.16, 0.58), (0.33, 0.38))
_CLAVICLE = ((0.10, 0.075), (0.25, 0.065), (0.42, 0.095))
_BROKEN = (((0.06, 0.155), (0.20, 0.125)), ((0.28, 0.055), (0.42, 0.095)))
_WIDTH = {"line": 0.014, "tube": 0.028, "bone": 0.020}  # half of the stroke
_BRIGHTNESS = {"line": 0.95, "tube": 0.92, "bone": 0.80}
_LEAST_ALPHA = {"dense": 1.0, "faint": 0.5}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the device lies: jitter of its points, as fractions of the image's side."""

    dx: float
    dy: float


def draw_placement(rng: np.random.Generator) -> Placement:
    """Sample the device's jitter."""
    u = rng.uniform(-1.0, 1.0, size=2)
    return Placement(dx=0.02 * u[0], dy=0.03 * u[1])


def render_chest(
    truth: ChestTruth, geometry: Geometry, placement: Placement, *, lesion: bool = True
) -> tuple[np.ndarray, dict[str, Box]]:
    """The image [H, W, 3] uint8 and the boxes in pixels of what has one, by its name.

    Names are the lesion's kind, "central line" or "chest tube", and "fracture". With
    `lesion=False` the chest is drawn without its lesion; the box is still returned.
    """
    x, y = grid(geometry)
    image, boxes = draw_chest(truth, geometry, x, y), {}
    for side in ("right", "left"):
        broken = truth.bones_side == side
        bone = _bone(x if side == "right" else 1 - x, y, broken)
        image = image + bone * (_BRIGHTNESS["bone"] - image)
        if broken:
            boxes["fracture"] = bounding_box(bone)
    if truth.has_lesion:
        value, alpha = draw_lesion(truth, geometry, x, y)
        boxes = {truth.kind: bounding_box(alpha), **boxes}
        if lesion:
            image = image + alpha * _LEAST_ALPHA.get(truth.density, 1.0) * (value - image)
    if truth.device_side:
        points, name = (_LINE, "central line") if truth.device == "line" else (_TUBE, "chest tube")
        across = (x if truth.device_side == "right" else 1 - x) - placement.dx
        stroke = _stroke(across, y - placement.dy, points, _WIDTH[truth.device])
        boxes[name] = bounding_box(stroke)
        image = image + stroke * (_BRIGHTNESS[truth.device] - image)
    return expose(image, geometry), boxes


def _bone(x: np.ndarray, y: np.ndarray, broken: bool) -> np.ndarray:
    """Coverage [H, W] of the clavicle on the left of the image."""
    pieces = _BROKEN if broken else (_CLAVICLE,)
    return np.maximum.reduce([_stroke(x, y, piece, _WIDTH["bone"]) for piece in pieces])


def _stroke(x: np.ndarray, y: np.ndarray, points: tuple[Point, ...], width: float) -> np.ndarray:
    """Coverage [H, W] of a bent line through the points, `width` to either side of it."""
    distances = []
    for (x0, y0), (x1, y1) in pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
        distances.append(np.hypot(x - x0 - along * dx, y - y0 - along * dy))
    return inside(width - np.minimum.reduce(distances))
