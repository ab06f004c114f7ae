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


def sample(pictures: list[tuple[np.ndarray, np.ndarray]], seed: int = 0) -> Sample:
    """A pair of every kind, the last three on one image; `pictures`: (expanded prompt ids, pixels)
    to choose from."""
    rng = np.random.default_rng(seed)
    pairs, pixels = [], {}
    for i, kind in enumerate(KINDS):
        prompt, picture = pictures[i % len(pictures)]
        chosen, rejected = edited_sides(kind, rng)
        corrupted = "" if kind == "no-corrupt" else f"{kind}'"
        pixels[kind] = picture
        if corrupted:
            noise = rng.normal(size=picture.shape).astype(np.float32)
            pixels[corrupted] = picture + noise
        pairs.append(PackedPair(kind, prompt, chosen, rejected, kind, corrupted, 0.75 + i / 10))
    prompt, pixels["one"] = pictures[0]
    pixels["one'"] = pixels["one"] + rng.normal(size=pixels["one"].shape).astype(np.float32)
    for kind in ON_ONE_IMAGE:
        chosen, rejected = edited_sides("middle", rng)
        prefix = np.empty(0, dtype=np.int64)
        if kind == "next-sentence":
            prefix = np.concatenate([pairs[-1].context_ids, pairs[-1].rejected.ids])[len(prompt) :]
        elif kind == "other-question":
            prompt = np.concatenate([prompt[:-3], rng.integers(10, 200, 4), prompt[-1:]])
        else:
            prefix = rng.integers(10, 200, 5)
        keys = "one", "one'"
        pairs.append(PackedPair(kind, prompt, chosen, rejected, *keys, 1.0, prefix))
    return Sample(pairs, pixels)


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
        return Side(rng.integers(10, 400, len(edited)), edited)

    packed = []
    for i in range(pairs):
        corrupted = f"v{i}" if i % 3 else ""
        for key in filter(None, (f"x{i}", corrupted)):
            pixels[key] = rng.normal(size=(3, 48, 48)).astype(np.float32)
        prompt = np.concatenate([[1], np.full(36, image_token), rng.integers(10, 400, 5)])
        packed.append(PackedPair(f"p{i}", prompt, side(), side(), f"x{i}", corrupted, 1.0 + i / 50))
    return PackedBatch(tuple(packed), pixels)


def distribution(model: Any, prompt: np.ndarray, answer: np.ndarray, picture: np.ndarray):
    """log p(· | picture, prompt, answer so far) before each answer token, float [T, V].

    transformers' own forward pass on one unpadded sequence, and all of its logits.
    """
    ids = torch.from_numpy(np.concatenate([prompt, answer]))[None]
    inputs: dict[str, Any] = {"input_ids": ids}
    pixels = torch.from_numpy(picture)
    kind, is_image = model.config.model_type, (ids == model.config.image_token_id).int()
    if kind in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        inputs["pixel_values"] = pixels.reshape(-1, pixels.shape[-1])
        inputs["image_grid_thw"] = torch.tensor([picture.shape[:3]])
        inputs["mm_token_type_ids"] = is_image
    elif kind == "gemma3":
        inputs |= {"pixel_values": pixels[None], "token_type_ids": is_image}
    else:
        inputs["pixel_values"] = pixels if pixels.ndim == 4 else pixels[None]
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
            key = pair.image_key if image == "clean" else pair.corrupted_key
            if not key and needs.clean_fallback:
                key = pair.image_key
            rows.append(_row(policy, reference, pair.context_ids, side, pixels.get(key), width))
        scores[name] = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
    scores["relevance"] = torch.tensor([pair.relevance for pair in pairs])
    scores["has_corrupt"] = torch.tensor([bool(pair.corrupted_key) for pair in pairs])
    return scores


def _row(policy, reference, prompt, side, picture, width):
    answer = torch.from_numpy(side.ids)
    positions = torch.arange(len(answer))
    values = {
        name: torch.zeros(len(answer)) for name in ("policy_logp", "ref_logp", "kl_fwd", "kl_rev")
    }
    if picture is not None:
        ours = distribution(policy, prompt, side.ids, picture)
        with torch.no_grad():
            theirs = distribution(reference, prompt, side.ids, picture)
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
