"""Floating-point operations of a step, counted from the sizes of the weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from medray.bench.learner.settings import Settings
from medray.bench.learner.workload import Workload
from medray.objectives import Needs
from medray.policy.architectures import Architecture
from medray.policy.model.tuning import base_model
from medray.policy.packing import PackedPair
from medray.policy.scoring.forest import Layout, build_forest
from medray.policy.scoring.last_layer import ROW_BY_ROW
from medray.policy.scoring.score_pairs import pair_branches

DEFINITION = (
    "model_flop_utilisation: operations per second divided by the device's peak for dense bf16 "
    "matrix products. Counts the tokens that a variant processes, without padding. Language "
    "layers: 2 per weight and token for the policy's forward pass, 2 for the reference's, 2 for "
    "the gradients of the policy's activations (frozen weights have no gradients); adapters: 2 "
    "forward, 4 backward; the head and the rows of the last layer likewise, at the positions where "
    "they run; vision: 2 per weight and patch in each pass. Not counted: attention scores, norms, "
    "the softmax."
)
LIMIT = (
    "of_limit: the seconds that the counted operations take at the rate of large matrix products, "
    "over the seconds of a repeat; the rate is the best of some products just before the repeat, "
    "in the same process; median of the repeats"
)
PRODUCTS = 5
# Peak operations per second in dense bf16, by a part of the device's name.
PEAKS = {"H200": 989e12, "H100 80GB HBM3": 989e12, "H100 SXM": 989e12, "H100 PCIe": 756e12}


@dataclass(frozen=True, slots=True)
class Weights:
    """Parameters by use; `vision` runs per patch, `projector` per image token.

    `last`: those of the language layers that run only at positions that are read (see
    medray.policy.scoring.last_layer; naive scoring reads all positions); not in `language`.
    """

    language: int
    last: int
    adapters: int
    head: int
    vision: int
    projector: int


@dataclass(frozen=True, slots=True)
class Work:
    """What one step processes; `pictures`: how many images the vision tower encodes."""

    tokens: int
    head_positions: int
    pictures: int
    reference: bool


def peak_of(device_name: str, dtype: str) -> float | None:
    """Peak operations per second of the device; None if unknown."""
    if dtype != "bfloat16":
        return None
    return next((peak for part, peak in PEAKS.items() if part in device_name), None)


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of large matrix products on this device, now: the best of several."""
    size = 2048 if device.type == "cpu" else 8192
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        one @ other
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def count_weights(policy: nn.Module, architecture: Architecture) -> Weights:
    """Count matrices only: tables are looked up, and the cost of vectors is negligible."""
    sums = dict.fromkeys(("language", "last", "adapters", "head", "vision", "projector"), 0)
    layers: Any = base_model(policy).get_submodule("model.language_model.layers")
    ending = tuple(f"language_model.layers.{len(layers) - 1}.{name}." for name in ROW_BY_ROW)
    marks = architecture.group_marks
    for name, parameter in policy.named_parameters():
        if parameter.dim() < 2 or "embed_tokens" in name or "position_embedding" in name:
            continue
        groups = [g for g in ("projector", "vision") if any(m in name for m in marks[g])]
        kind = "adapters" if ".lora_" in name else "head" if "lm_head." in name else "language"
        if kind == "language" and any(part in name for part in ending):
            kind = "last"
        sums[groups[0] if groups else kind] += parameter.numel()
    return Weights(**sums)


def operations(weights: Weights, work: Work, settings: Settings, patches: int) -> int:
    """Operations of one forward and backward pass; `patches`: per picture."""
    passes = 6 if work.reference else 4
    return (
        passes * weights.language * work.tokens
        + passes * weights.last * work.head_positions
        + 6 * weights.adapters * work.tokens
        + passes * weights.head * work.head_positions
        + 2 * work.pictures * (weights.vision * patches + weights.projector * settings.image_tokens)
    )


def work_of_trees(parts: Sequence[Workload], needs: Needs, layout: Layout) -> Work:
    """Work of medray's scoring, one part after the other: in each of them the frozen tower runs
    once per picture for both models."""
    tokens = head_positions = pictures = 0
    for part in parts:
        branches = [branch for _, _, branch in pair_branches(part.pairs, needs)]
        shapes = {key: array.shape for key, array in part.pixels.items()}
        forest = build_forest(branches, shapes, layout)
        tokens += forest.tokens
        head_positions += len(forest.read_index.positions)
        pictures += len(forest.image_keys)
    return Work(tokens, head_positions, pictures, needs.reference)


def work_of_sequences(pairs: Sequence[PackedPair], needs: Needs) -> Work:
    """Work of naive scoring: full sequences, the head at all positions, the tower every time."""
    lengths = [
        len(branch.prompt_ids) + len(branch.answer_ids)
        for _, _, branch in pair_branches(pairs, needs)
    ]
    passes = 2 if needs.reference else 1
    return Work(sum(lengths), sum(lengths), passes * len(lengths), needs.reference)


def patches_of(picture: Any) -> int:
    """Patches of a picture: [3, h, w] pixels (patches of 14 × 14), or a grid [t, h, w, patch]."""
    from medray.bench.learner.models import PATCH

    if len(picture.shape) == 4:
        return int(picture.shape[0] * picture.shape[1] * picture.shape[2])
    return int(picture.shape[1] // PATCH) * int(picture.shape[2] // PATCH)
