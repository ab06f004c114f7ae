"""The recipe of the tiny localiser: pictures and phrases in, masks out, one stage.

Phrases are the concepts of medray.localising and the ontology's names for them. A finding that the
picture does not show has an empty mask, so that the localiser also learns to find nothing.
Budgets are steps, never seconds: a seed gives the same model on machines of any speed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPSegForImageSegmentation, PreTrainedTokenizerFast

from medray.config import LocaliserConfig
from medray.editing.ontology.lexicon import ontology
from medray.localising.concepts import HEART, phrase
from medray.phantom.studies.truth import KINDS, stream
from medray.phantom.training.localiser.card import write_card
from medray.phantom.training.localiser.masks import Located, locate_studies
from medray.phantom.training.localiser.measure import measure
from medray.phantom.training.localiser.model import (
    MEAN,
    STD,
    make_model,
    make_tokenizer,
    map_logits,
    save_localiser,
)
from medray.phantom.training.optimise import Optimiser, Progress, Stage

LESION = "lesion"
ENTROPY = 10.0  # weight of the cross-entropy: few of the pixels are in a mask
ABSENT, GENERAL, OF_HEART = 0.3, 0.15, 0.2  # shares of the phrases; the others name the lesion


@dataclass(frozen=True, slots=True)
class Recipe:
    """Studies to train on and to measure with, and the stage."""

    studies: int
    stage: Stage
    heldout: int


SHIPPED = Recipe(studies=5_000, stage=Stage(steps=1_500, batch=32, lr=2e-3), heldout=200)
SMOKE = Recipe(studies=16, stage=Stage(steps=2, batch=4, lr=2e-3), heldout=4)  # for tests


def build_localiser(
    out: Path, *, seed: int = 0, progress: Progress = print, recipe: Recipe = SHIPPED
) -> dict[str, float]:
    """Train the localiser, write it with processor and model card to `out`, return figures."""
    start = time.monotonic()
    names = phrases_of_phantoms()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tokenizer(text for texts in names.values() for text in texts)
        model = make_model(tokenizer)
        parameters = float(sum(p.numel() for p in model.parameters()))
        progress(f"rendering {recipe.studies:,} studies")
        studies = locate_studies(seed, "base", 0, recipe.studies)
        progress(f"learning to point: {recipe.stage.steps} steps of {recipe.stage.batch}")
        _train(model, tokenizer, studies, names, recipe.stage, progress, seed)
    save_localiser(model, tokenizer, out)
    seconds = time.monotonic() - start
    config = LocaliserConfig(kind="clipseg", path=str(out))
    figures = {"parameters": parameters} | measure(config, studies=recipe.heldout, seed=seed)
    figures["seconds"] = seconds
    write_card(out, recipe=recipe, seed=seed, figures=figures)
    progress(f"wrote {out} after {seconds:.0f} s")
    return figures


def phrases_of_phantoms() -> dict[str, tuple[str, ...]]:
    """By finding, and "heart": the concept's phrase first, then what else it may be called."""
    kinds = [kind for kind in KINDS if kind != "none"]
    entries = ontology().entries
    names: dict[str, tuple[str, ...]] = {}
    for kind in (*kinds, LESION):
        others = [
            " ".join(words)
            for words, meanings in entries.items()
            if any(m.attribute == "kind" and m.value == kind for m in meanings)
        ]
        names[kind] = tuple(dict.fromkeys((phrase(kind), *others)))
    return names | {HEART: (phrase(HEART), "cardiac silhouette", "enlarged heart")}


def _train(
    model: CLIPSegForImageSegmentation,
    tokenizer: PreTrainedTokenizerFast,
    studies: Located,
    names: dict[str, tuple[str, ...]],
    stage: Stage,
    progress: Progress,
    seed: int,
) -> None:
    optimiser = Optimiser(model.parameters(), stage, progress)
    model.train()
    for step in range(stage.steps):
        rng = stream(seed, "localiser", step, "draws")
        rows = rng.integers(len(studies), size=stage.batch)
        drawn = [_draw(rng, studies, int(row), names) for row in rows]
        encoded = tokenizer([text for text, _ in drawn], padding=True, return_tensors="pt")
        masks = torch.from_numpy(np.stack([mask for _, mask in drawn])).float()
        grey = (torch.from_numpy(studies.images[rows]).float() / 255 - MEAN) / STD
        pixels = grey[:, None].expand(-1, 3, -1, -1)
        logits = map_logits(model, pixels, encoded.input_ids, encoded.attention_mask)
        optimiser.step(mask_loss(logits, masks))


def _draw(
    rng: np.random.Generator, studies: Located, row: int, names: dict[str, tuple[str, ...]]
) -> tuple[str, np.ndarray]:
    """A phrase and the mask it has in a study, bool [48, 48]."""
    kind, share = studies.kinds[row], rng.random()
    empty = np.zeros_like(studies.lesions[row])
    if share < ABSENT or (kind == "none" and share < 1 - GENERAL - OF_HEART):
        others = [k for k in KINDS if k not in (kind, "none")]
        name, mask = others[int(rng.integers(len(others)))], empty
    elif share < 1 - GENERAL - OF_HEART:
        name, mask = kind, studies.lesions[row]
    elif share < 1 - OF_HEART:
        name, mask = LESION, studies.lesions[row]
    else:
        name, mask = HEART, studies.hearts[row]
    texts = names[name]
    usual = rng.random() < 0.5  # the phrase that a run asks with
    return texts[0 if usual else int(rng.integers(len(texts)))], mask


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy per pixel, and 1 - Dice of the pictures that have a mask; both [B, H, W].

    Where nothing is to be found Dice says little but "less", and would drown out the rest.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, masks)
    probable = logits.sigmoid()
    overlap = 2 * (probable * masks).sum(dim=(1, 2))
    size = probable.sum(dim=(1, 2)) + masks.sum(dim=(1, 2))
    shown = masks.any(dim=2).any(dim=1)
    return ENTROPY * entropy + (1 - (overlap + 1) / (size + 1))[shown].sum() / len(masks)
