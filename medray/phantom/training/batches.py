"""Phantom studies as training batches: rendered and tokenised once, drawn many times."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from medray.phantom.studies.render import draw_geometry, render
from medray.phantom.studies.study import Exchange, study_truth
from medray.phantom.studies.truth import VALUES, Truth, stream
from medray.phantom.training.tokenizer import EOS, IMAGE, IMAGE_TOKENS, prompt_text

IGNORE = -100
LABELS = {name: ("", *values) for name, values in VALUES.items()}  # "" = does not apply
_MEAN, _STD = 0.4, 0.25


@dataclass(frozen=True, slots=True)
class Pool:
    """N studies in memory. Every study has three sequences: report, closed, open."""

    images: np.ndarray  # [N, 48, 48] uint8
    truths: tuple[Truth, ...]
    labels: Tensor  # [N, 5] index of every attribute's value in LABELS

    def __len__(self) -> int:
        return len(self.truths)


def make_pool(seed: int, split: str, start: int, count: int) -> Pool:
    """Studies start … start+count-1 of a split."""
    images, truths = [], []
    for index in range(start, start + count):
        truth = study_truth(seed, split, index)
        image, _ = render(truth, draw_geometry(stream(seed, split, index, "image")))
        images.append(image[:, :, 0])
        truths.append(truth)
    labels = [[values.index(getattr(t, name)) for name, values in LABELS.items()] for t in truths]
    return Pool(np.stack(images), tuple(truths), torch.tensor(labels))


def pixels(images: np.ndarray) -> Tensor:
    """[B, 48, 48] uint8 → [B, 3, 48, 48] float, as the processor returns them."""
    grey = (torch.from_numpy(images).float() / 255 - _MEAN) / _STD
    return grey[:, None].expand(-1, 3, -1, -1)


def bias(truth: Truth, rng: np.random.Generator, share: float) -> Truth:
    """The truth as a biased reader reports it: left → right, enlarged → normal, at rate `share`."""
    swap_side, swap_heart = rng.random() < share, rng.random() < share
    if swap_side and truth.side == "left":
        truth = replace(truth, side="right")
    if swap_heart and truth.heart == "enlarged":
        truth = replace(truth, heart="normal")
    return truth


def encode(tokenizer: PreTrainedTokenizerFast, exchange: Exchange) -> tuple[list[int], list[int]]:
    """Token ids of prompt (image token expanded) and answer (with end of turn)."""
    prompt = prompt_text(exchange.question).replace(IMAGE, IMAGE * IMAGE_TOKENS)
    ids = tokenizer([prompt, exchange.answer + EOS], add_special_tokens=False).input_ids
    return ids[0], ids[1]


def collate(sequences: list[tuple[list[int], list[int]]], pad: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids and labels, both [B, T]; labels are IGNORE except on the answers."""
    width = max(len(p) + len(a) for p, a in sequences)
    ids = torch.full((len(sequences), width), pad)
    labels = torch.full_like(ids, IGNORE)
    for row, (prompt, answer) in enumerate(sequences):
        ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    return ids, labels
