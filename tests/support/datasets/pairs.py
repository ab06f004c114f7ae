"""Random pairs for any look-alike model, and the oracle that scores them branch by branch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from medray.policy.model.loading import resolve_model_path
from medray.policy.packing import PackedBatch, PackedPair, Side

# Kinds of edits: by position, and whether the sides differ in length.
KINDS = ("start", "middle", "several", "first-token", "last-token", "longer", "no-corrupt")
# Pairs of two sentences of one answer, the second one behind the first one as it was sampled, and
# of an answer to another question about the same image.
ON_ONE_IMAGE = ("sentence", "next-sentence", "other-question")


@dataclass(frozen=True)
class Sample:
    """Pairs and the pixels of their images."""

    pairs: list[PackedPair]
    pixels: dict[str, np.ndarray]


Pictures = tuple[np.ndarray, ...]  # of the images of one prompt


def sample(prompts: list[tuple[np.ndarray, Pictures]], seed: int = 0) -> Sample:
    """A pair of every kind, the last three on the same images; `prompts`: (expanded ids, pictures)
    to choose from. Of several images v' changes the last; the first are in several pairs."""
    rng = np.random.default_rng(seed)
    pairs, pixels = [], {}
    for i, kind in enumerate(KINDS):
        prompt, pictures = prompts[i % len(prompts)]
        chosen, rejected = edited_sides(kind, rng)
        v = None if kind == "no-corrupt" else rng
        keys, corrupted = _keys(kind, i % len(prompts), pictures, pixels, v)
        pairs.append(PackedPair(kind, prompt, chosen, rejected, keys, corrupted, 0.75 + i / 10))
    prompt, pictures = prompts[0]
    shared = _keys("one", 0, pictures, pixels, rng)
    for kind in ON_ONE_IMAGE:
        chosen, rejected = edited_sides("middle", rng)
        prefix = np.empty(0, dtype=np.int64)
        if kind == "next-sentence":
            prefix = np.concatenate([pairs[-1].context_ids, pairs[-1].rejected.ids])[len(prompt) :]
        elif kind == "other-question":
            prompt = np.concatenate([prompt[:-3], rng.integers(10, 200, 4), prompt[-1:]])
        else:
            prefix = rng.integers(10, 200, 5)
        pairs.append(PackedPair(kind, prompt, chosen, rejected, *shared, 1.0, prefix))
    return Sample(pairs, pixels)


def _keys(
    name: str, number: int, pictures: Pictures, pixels: dict[str, np.ndarray], rng: Any
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add the pictures of a prompt, and with `rng` its corrupted one, to `pixels`: their keys."""
    *first, last = pictures
    keys = tuple(f"shared-{number}-{place}" for place in range(len(first)))
    pixels |= dict(zip(keys, first, strict=True))
    pixels[name] = last
    if rng is None:
        return (*keys, name), ()
    pixels[f"{name}'"] = last + rng.normal(size=last.shape).astype(np.float32)
    return (*keys, name), (*keys, f"{name}'")


def edited_sides(kind: str, rng: np.random.Generator) -> tuple[Side, Side]:
    """Twelve tokens (10 … 199, which every look-alike has) and an edited copy."""
    common = rng.integers(10, 200, 12)
    ranges = {
        "start": [(2, 4)],
        "middle": [(5, 7)],
        "several": [(1, 2), (6, 8), (10, 11)],
        "first-token": [(0, 1)],
        "last-token": [(11, 12)],
        "longer": [(4, 6)],
        "no-corrupt": [(3, 5)],
    }[kind]
    chosen, rejected = common.copy(), common.copy()
    mask = np.zeros(12, dtype=bool)
    for start, stop in ranges:
        rejected[start:stop] = 10 + (rejected[start:stop] - 9) % 190
        mask[start:stop] = True
    if kind != "longer":
        return Side(chosen, mask), Side(rejected, mask)
    extra = rng.integers(10, 200, 3)
    longer = np.concatenate([rejected[:6], extra, rejected[6:]])
    longer_mask = np.concatenate([mask[:6], np.ones(3, bool), mask[6:]])
    return Side(chosen, mask), Side(longer, longer_mask)


def phantom_batch(seed: int = 0, pairs: int = 9) -> PackedBatch:
    """Random pairs over the vocabulary of the shipped model, a third of them without v'.

    Nine: with two ranks and micro-batches of two, the shares are unequal.
    """
    rng = np.random.default_rng(seed)
    image_token = AutoConfig.from_pretrained(resolve_model_path("phantom/base")).image_token_index
    pixels: dict[str, np.ndarray] = {}

    def side() -> Side:
        edited = np.zeros(rng.integers(6, 12), dtype=bool)
        edited[2:4] = True
        starts = np.arange(len(edited))  # a character a token
        offsets = np.stack([starts, starts + 1], axis=1)
        return Side(rng.integers(10, 400, len(edited)), edited, offsets=offsets)

    packed = []
    for i in range(pairs):
        corrupted = (f"v{i}",) if i % 3 else ()
        for key in (f"x{i}", *corrupted):
            pixels[key] = rng.normal(size=(3, 48, 48)).astype(np.float32)
        prompt = np.concatenate([[1], np.full(36, image_token), rng.integers(10, 400, 5)])
        packed.append(
            PackedPair(f"p{i}", prompt, side(), side(), (f"x{i}",), corrupted, 1.0 + i / 50)
        )
    return PackedBatch(tuple(packed), pixels)


def distribution(model: Any, prompt: np.ndarray, answer: np.ndarray, pictures: Pictures):
    """log p(· | pictures, prompt, answer so far) before each answer token, float [T, V].

    transformers' own forward pass on one unpadded sequence, and all of its logits.
    """
    ids = torch.from_numpy(np.concatenate([prompt, answer]))[None]
    inputs: dict[str, Any] = {"input_ids": ids}
    pixels = [torch.from_numpy(picture) for picture in pictures]
    kind, is_image = model.config.model_type, (ids == model.config.image_token_id).int()
    if kind in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        inputs["pixel_values"] = torch.cat([own.reshape(-1, own.shape[-1]) for own in pixels])
        inputs["image_grid_thw"] = torch.tensor([picture.shape[:3] for picture in pictures])
        inputs["mm_token_type_ids"] = is_image
    elif kind == "gemma3":
        inputs |= {"pixel_values": torch.stack(pixels), "token_type_ids": is_image}
    else:
        tiled = pixels[0].ndim == 4
        inputs["pixel_values"] = torch.cat(pixels) if tiled else torch.stack(pixels)
    logits = model(**inputs).logits[0].float()
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def naive_scores(
    policy: Any, reference: Any, pairs: list[PackedPair], pixels: dict[str, np.ndarray], needs: Any
) -> dict[str, Any]:
    """The `scores` of any Needs: one forward pass per branch, nothing shared, all logits."""
    width = max(len(s.ids) for pair in pairs for s in (pair.chosen, pair.rejected))
    scores: dict[str, Any] = {}
    for name in needs.branches:
        image, which = name.split("/")
        rows = []
        for pair in pairs:
            side = pair.side(which)
            keys = pair.image_keys if image == "clean" else pair.corrupted_keys
            if not keys and needs.clean_fallback:
                keys = pair.image_keys
            pictures = tuple(pixels[key] for key in keys)
            rows.append(_row(policy, reference, pair.context_ids, side, pictures, width))
        scores[name] = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
    scores["relevance"] = torch.tensor([pair.relevance for pair in pairs])
    scores["has_corrupt"] = torch.tensor([bool(pair.corrupted_keys) for pair in pairs])
    return scores


def _row(policy, reference, prompt, side, pictures, width):
    answer = torch.from_numpy(side.ids)
    positions = torch.arange(len(answer))
    values = {
        name: torch.zeros(len(answer)) for name in ("policy_logp", "ref_logp", "kl_fwd", "kl_rev")
    }
    if pictures:
        ours = distribution(policy, prompt, side.ids, pictures)
        with torch.no_grad():
            theirs = distribution(reference, prompt, side.ids, pictures)
        values = {
            "policy_logp": ours[positions, answer],
            "ref_logp": theirs[positions, answer],
            "kl_fwd": (theirs.exp() * (theirs - ours)).sum(-1),
            "kl_rev": (ours.exp() * (ours - theirs)).sum(-1),
        }
    values["response_mask"] = torch.ones(len(answer), dtype=torch.bool)
    values["edit_mask"] = torch.from_numpy(side.edited)
    return {
        name: torch.nn.functional.pad(value, (0, width - len(answer)))
        for name, value in values.items()
    }
