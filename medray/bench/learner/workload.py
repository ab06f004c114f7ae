"""Random pairs of given sizes, one image and one corrupted image each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from medray.bench.learner.models import (
    IMAGE,
    VISION_END,
    VISION_START,
    image_pixels,
    image_processor,
    is_qwen,
)
from medray.bench.learner.settings import FIRST_WORD, Settings
from medray.policy.architectures import Architecture
from medray.policy.packing import PackedPair, Side


@dataclass(frozen=True, slots=True)
class Workload:
    """`images` uint8 [h, w, 3] are what `pixels` were made of, by the pairs' image keys."""

    pairs: tuple[PackedPair, ...]
    pixels: dict[str, np.ndarray]
    images: dict[str, np.ndarray]


def make_workload(task: Settings, architecture: Architecture) -> Workload:
    """The same task, the same pairs."""
    rng = np.random.default_rng(task.seed + 1)
    processor = image_processor(task)
    size = image_pixels(task)
    pairs, images = [], {}
    for number in range(task.batch):
        clean, corrupted = f"image-{number}", f"corrupted-{number}"
        images[clean] = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        noisy = images[clean] + rng.normal(0.0, 45.0, images[clean].shape)
        images[corrupted] = noisy.round().clip(0, 255).astype(np.uint8)
        chosen, rejected = _sides(task, rng)
        pairs.append(
            PackedPair(
                pair_id=f"pair-{number}",
                prompt_ids=_prompt(task, rng),
                chosen=chosen,
                rejected=rejected,
                image_key=clean,
                corrupted_key=corrupted,
                relevance=1.0,
            )
        )
    pixels = {
        key: architecture.picture(processor(images=[Image.fromarray(image)], return_tensors="np"))
        for key, image in images.items()
    }
    return Workload(tuple(pairs), pixels, images)


def _prompt(task: Settings, rng: np.random.Generator) -> np.ndarray:
    """The image's placeholders as the family writes them, then words."""
    image = [IMAGE] * task.image_tokens
    if is_qwen(task):
        image = [VISION_START, *image, VISION_END]
    return np.concatenate([np.asarray(image, dtype=np.int64), _words(task, rng, task.prompt)])


def _sides(task: Settings, rng: np.random.Generator) -> tuple[Side, Side]:
    """Both begin alike, differ in every edited token, and end alike."""
    words = task.vocabulary - FIRST_WORD
    begin, end = _words(task, rng, task.common), _words(task, rng, task.tail - task.edited)
    edit = _words(task, rng, task.edited)
    other = FIRST_WORD + (edit - FIRST_WORD + rng.integers(1, words, task.edited)) % words
    mask = np.zeros(task.common + task.tail, dtype=bool)
    mask[task.common : task.common + task.edited] = True
    chosen, rejected = (
        Side(np.concatenate([begin, middle, end]), mask.copy()) for middle in (edit, other)
    )
    return chosen, rejected


def _words(task: Settings, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(FIRST_WORD, task.vocabulary, count, dtype=np.int64)
