"""Random pairs of given sizes, under images and their corrupted copies."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from medray.objectives import Needs
from medray.policy.architectures import Architecture
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.forest import Layout
from medray.policy.scoring.score_pairs import batch_pairs


@dataclass(frozen=True, slots=True)
class Workload:
    """`images`, uint8 [h, w, 3], are the sources of `pixels`; both by the pairs' image keys."""

    pairs: tuple[PackedPair, ...]
    pixels: dict[str, np.ndarray]
    images: dict[str, np.ndarray]


def make_workload(settings: Settings, architecture: Architecture) -> Workload:
    """Build the pairs; the same settings give the same pairs."""
    rng = np.random.default_rng(settings.seed + 1)
    processor = image_processor(settings)
    size = image_pixels(settings)
    pairs: list[PackedPair] = []
    images = {}
    for number in range(settings.batch):
        clean, corrupted = f"image-{number}", f"corrupted-{number}"
        images[clean] = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        noisy = images[clean] + rng.normal(0.0, 45.0, images[clean].shape)
        images[corrupted] = noisy.round().clip(0, 255).astype(np.uint8)
        for _ in range(settings.questions):
            prompt = _prompt(settings, rng)
            for _ in range(settings.answers):
                pairs += _answer_pairs(settings, rng, prompt, (clean, corrupted), len(pairs))
    pixels = {
        key: architecture.pictures(
            processor(images=[Image.fromarray(image)], return_tensors="np"), [1]
        )[0]
        for key, image in images.items()
    }
    return Workload(tuple(pairs), pixels, images)


def apart(workload: Workload) -> Workload:
    """The same pairs with images of their own for each: one tree per pair and image."""
    pairs: list[PackedPair] = []
    sources: dict[str, str] = {}
    for pair in workload.pairs:
        keys = (pair.image_keys, pair.corrupted_keys)
        own, own_corrupted = (tuple(f"{key} of {pair.pair_id}" for key in each) for each in keys)
        sources |= {f"{key} of {pair.pair_id}": key for each in keys for key in each}
        pairs.append(replace(pair, image_keys=own, corrupted_keys=own_corrupted))
    pixels, images = (
        {name: arrays[key] for name, key in sources.items()}
        for arrays in (workload.pixels, workload.images)
    )
    return Workload(tuple(pairs), pixels, images)


def in_parts(workload: Workload, size: int | None) -> list[Workload]:
    """The same pairs, `size` at a time; all of them if it is None."""
    count = len(workload.pairs)
    size = size or count
    return [
        replace(workload, pairs=workload.pairs[start : start + size])
        for start in range(0, count, size)
    ]


def as_learned(
    workload: Workload, size: int | None, needs: Needs, layout: Layout
) -> list[Workload]:
    """The same pairs in the micro-batches of a learner with `learner.micro_batch` of `size`."""
    size = size or len(workload.pairs)
    shares = batch_pairs(workload.pairs, needs, layout, size)
    return [replace(workload, pairs=tuple(workload.pairs[i] for i in own)) for own in shares if own]


def _answer_pairs(
    settings: Settings,
    rng: np.random.Generator,
    prompt: np.ndarray,
    images: tuple[str, str],
    number: int,
) -> list[PackedPair]:
    """A pair for each sentence of one answer, which goes on behind the sentence as it was."""
    clean, corrupted = images
    pairs, prefix = [], np.empty(0, dtype=np.int64)
    for sentence in range(settings.sentences):
        chosen, rejected = _sides(settings, rng, common=0 if sentence else settings.common)
        pairs.append(
            PackedPair(
                pair_id=f"pair-{number + sentence}",
                prompt_ids=prompt,
                chosen=chosen,
                rejected=rejected,
                image_keys=(clean,),
                corrupted_keys=(corrupted,),
                relevance=1.0,
                prefix_ids=prefix,
            )
        )
        prefix = np.concatenate([prefix, rejected.ids])
    return pairs


def _prompt(settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """The image's placeholder tokens as the model family writes them, then words."""
    image = [IMAGE] * settings.image_tokens
    if is_qwen(settings):
        image = [VISION_START, *image, VISION_END]
    return np.concatenate(
        [np.asarray(image, dtype=np.int64), _words(settings, rng, settings.prompt)]
    )


def _sides(settings: Settings, rng: np.random.Generator, common: int) -> tuple[Side, Side]:
    """Two texts that begin alike, differ in every edited token, and are else alike."""
    words = settings.vocabulary - FIRST_WORD
    chosen = _words(settings, rng, common + settings.tail)
    mask, end = np.zeros(len(chosen), dtype=bool), 0
    for place, edited in enumerate(np.array_split(np.arange(settings.edited), settings.places)):
        start = max(end, common + place * settings.tail // settings.places)
        end = start + len(edited)
        mask[start:end] = True
    rejected = chosen.copy()
    moved = rng.integers(1, words, settings.edited)
    rejected[mask] = FIRST_WORD + (chosen[mask] - FIRST_WORD + moved) % words
    return Side(chosen, mask), Side(rejected, mask.copy())


def _words(settings: Settings, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(FIRST_WORD, settings.vocabulary, count, dtype=np.int64)
