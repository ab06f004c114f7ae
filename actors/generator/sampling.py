"""How a token is drawn on a CPU: with one random number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def draw(
    probabilities: Tensor, generators: Mapping[int, torch.Generator], use_fp64_gumbel: bool = False
) -> Tensor:
    """A column [R], int64, for each row of `probabilities` [R, V], float32: where the running sum
    passes a uniform random number (inverse transform sampling).

    The number is from the row's generator, if it has one. Takes the arguments of vLLM's own
    `random_sample`, which draws a number for each of V words, one after the other: of 32,000 words
    a fifth of the time of generation. The third is about those numbers, and without meaning here.
    """
    numbers = torch.rand(len(probabilities), 1, dtype=torch.float64)
    for row, generator in generators.items():
        numbers[row] = torch.rand(1, generator=generator, dtype=torch.float64)
    sums = probabilities.cumsum(-1, dtype=torch.float64)
    total = sums[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))  # the product may round up to `total`
    # `right`: never a word of probability 0, which ends where the one before it does
    return torch.searchsorted(sums, torch.minimum(numbers * total, below), right=True).view(-1)
