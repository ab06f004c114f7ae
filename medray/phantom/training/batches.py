"""Phantom studies as training batches: rendered and tokenised once, drawn many times."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from medray.phantom.studies.study import Exchange
from medray.phantom.studies.truth import Truth
from medray.phantom.styles import Style
from medray.phantom.training.tokenizer import expanded_prompt

IGNORE = -100
_MEAN, _STD = 0.4, 0.25


@dataclass(frozen=True, slots=True)
class Pool:
    """N studies in memory. Every study has three sequences: report, closed, open."""

    images: np.ndarray  # [N, 48, 48] uint8
    truths: tuple[Truth, ...]
    labels: Tensor  # [N, A] index of every attribute's value among `label_values`

    def __len__(self) -> int:
        return len(self.truths)


def label_values(style: Style) -> list[tuple[str, ...]]:
    """The values of every attribute; the first, "", is that of one that does not apply."""
    return [("", *values) for values in style.values.values()]


def make_pool(style: Style, seed: int, split: str, start: int, count: int) -> Pool:
    """Studies start … start+count-1 of a split."""
    images, truths = [], []
    for index in range(start, start + count):
        truth = style.truth(seed, split, index)
        images.append(style.image(seed, split, index, truth)[:, :, 0])
        truths.append(truth)
    attributes = list(zip(style.values, label_values(style), strict=True))
    labels = [[values.index(getattr(t, name)) for name, values in attributes] for t in truths]
    return Pool(np.stack(images), tuple(truths), torch.tensor(labels))


def pixels(images: np.ndarray) -> Tensor:
    """[B, 48, 48] uint8 → [B, 3, 48, 48] float, as the processor returns them."""
    grey = (torch.from_numpy(images).float() / 255 - _MEAN) / _STD
    return grey[:, None].expand(-1, 3, -1, -1)


def bias(style: Style, truth: Truth, rng: np.random.Generator, share: float) -> Truth:
    """The truth as a biased reader reports it: by the style's prior, each at rate `share`."""
    swaps = {name: rng.random() < share for name in style.prior}
    for name, (value, reported) in style.prior.items():
        if swaps[name] and getattr(truth, name) == value:
            truth = replace(truth, **{name: reported})
    return truth


def encode(tokenizer: PreTrainedTokenizerFast, exchange: Exchange) -> tuple[list[int], list[int]]:
    """Token ids of prompt (image token expanded) and answer (with end of turn)."""
    texts = [
        expanded_prompt(tokenizer, exchange.question),
        exchange.answer + str(tokenizer.eos_token),
    ]
    ids = tokenizer(texts, add_special_tokens=False).input_ids
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
