"""Draw a phantom chest radiograph: lungs, ribs, heart, and the lesion, if any.

Coordinates are fractions of the image's side, x to the right and y down. All random numbers are
sampled before rendering starts, so the same stream with and without the lesion gives images that
differ in the lesion's pixels only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medray.phantom.studies.truth import Truth

IMAGE_SIZE = 48
Box = tuple[int, int, int, int]

_LUNG_X = {"right": 0.29, "left": 0.71}
_LESION_X = {"right": 0.27, "left": 0.73}
_ZONE_Y = {"upper": 0.28, "middle": 0.50, "lower": 0.72}
_RADIUS = {  # of the lesion, by kind and size
    "nodule": {"small": 0.055, "large": 0.115},
    "opacity": {"small": 0.095, "large": 0.170},
    "cavity": {"small": 0.075, "large": 0.135},
}
_FLUID_LEVEL = {"small": 0.76, "large": 0.60}
_HEART_WIDTH = {"normal": 0.11, "enlarged": 0.20}
_NOISE = 0.035


@dataclass(frozen=True, slots=True)
class Geometry:
    """The random part of an image: shift of the chest, jitter of the lesion, exposure, noise."""

    shift_x: float
    shift_y: float
    lung_scale: float
    lesion_dx: float
    lesion_dy: float
    lesion_scale: float
    heart_scale: float
    gain: float
    noise: np.ndarray  # [H, W] float32, standard normal


def draw_geometry(rng: np.random.Generator) -> Geometry:
    """Sample everything that is random about one image."""
    u = rng.uniform(-1.0, 1.0, size=8)
    noise = rng.standard_normal((IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    return Geometry(
        shift_x=0.025 * u[0],
        shift_y=0.025 * u[1],
        lung_scale=1 + 0.05 * u[2],
        lesion_dx=0.035 * u[3],
        lesion_dy=0.035 * u[4],
        lesion_scale=1 + 0.10 * u[5],
        heart_scale=1 + 0.08 * u[6],
        gain=1 + 0.08 * u[7],
        noise=noise,
    )


def render(
    truth: Truth, geometry: Geometry, *, lesion: bool = True
) -> tuple[np.ndarray, Box | None]:
    """The image [H, W, 3] uint8 (three equal channels) and the lesion's box in pixels.

    With `lesion=False` the same chest is drawn without its lesion; the box is still returned.
    """
    x, y = grid(geometry)
    image = draw_chest(truth, geometry, x, y)
    box = None
    if truth.has_lesion:
        value, alpha = draw_lesion(truth, geometry, x, y)
        box = bounding_box(alpha)
        if lesion:
            image = image + alpha * (value - image)
    return expose(image, geometry), box


def expose(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The radiograph [H, W, 3] uint8 (three equal channels) of grey values [H, W] in [0, 1]."""
    image = np.clip(geometry.gain * image + _NOISE * geometry.noise, 0.0, 1.0)
    grey = np.round(255 * image).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def grid(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel's centre [H, W] in the coordinates of the chest."""
    steps = (np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5) / IMAGE_SIZE
    return steps[None, :] - geometry.shift_x + 0 * steps[:, None], steps[
        :, None
    ] - geometry.shift_y + 0 * steps


def inside(distance: np.ndarray) -> np.ndarray:
    """Coverage in [0, 1] with an edge one pixel wide; `distance` is positive inside."""
    return np.clip(distance * IMAGE_SIZE + 0.5, 0.0, 1.0)


def _ellipse(
    x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float
) -> np.ndarray:
    """Coverage [H, W] of an ellipse with half-axes rx and ry."""
    return inside((1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * min(rx, ry))


def _lung(side: str, geometry: Geometry, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    scale = geometry.lung_scale
    return _ellipse(x, y, _LUNG_X[side], 0.50, 0.18 * scale, 0.40 * scale)


def draw_chest(truth: Truth, geometry: Geometry, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The chest [H, W] without lesion: soft tissue, two lungs, seven pairs of ribs, the heart."""
    image = 0.48 + 0.08 * y
    for side in ("right", "left"):
        lung = _lung(side, geometry, x, y)
        image = image + lung * (0.15 - image)
    for rib in range(7):
        middle = 0.16 + 0.11 * rib + 0.05 * np.cos(2 * np.pi * (x - 0.5) / 0.9)
        image = image + 0.05 * inside(0.011 - np.abs(y - middle))
    width = _HEART_WIDTH[truth.heart] * geometry.heart_scale
    heart = _ellipse(x, y, 0.53, 0.66, width, 0.15)
    return image + heart * (0.62 - image)


def draw_lesion(
    truth: Truth, geometry: Geometry, x: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray]:
    """The lesion's grey value and its opacity [H, W] in [0, 1], exactly 0 outside it."""
    if truth.kind == "effusion":
        level = _FLUID_LEVEL[truth.size] + 0.6 * geometry.lesion_dy
        outwards = np.abs(x - 0.5) - 0.21  # the fluid climbs along the chest wall
        surface = level - 0.5 * np.clip(outwards, -0.1, 0.2)
        return 0.88, _lung(truth.side, geometry, x, y) * inside(y - surface)
    radius = _RADIUS[truth.kind][truth.size] * geometry.lesion_scale
    distance = np.hypot(
        x - _LESION_X[truth.side] - geometry.lesion_dx, y - _ZONE_Y[truth.zone] - geometry.lesion_dy
    )
    if truth.kind == "nodule":
        return 0.97, inside(radius - distance)
    if truth.kind == "cavity":
        return 0.97, inside(radius - distance) * inside(distance - 0.55 * radius)
    return 0.80, np.clip(1 - (distance / radius) ** 2, 0.0, 1.0)


def bounding_box(alpha: np.ndarray) -> Box:
    """The smallest box (x0, y0, x1, y1), ends exclusive, around everything above zero."""
    rows, columns = np.nonzero(alpha.any(axis=1))[0], np.nonzero(alpha.any(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
