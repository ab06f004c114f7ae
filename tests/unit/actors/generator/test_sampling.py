"""A token from one random number: from the same distribution, and decided by a seed."""

from __future__ import annotations

import math

import pytest
import torch

from actors.generator.sampling import draw

DRAWS = 40_000


def seeded(*seeds: int) -> dict[int, torch.Generator]:
    return {row: torch.Generator().manual_seed(seed) for row, seed in enumerate(seeds)}


@pytest.mark.parametrize("own_seeds", [True, False])
def test_words_come_as_often_as_they_should(own_seeds):
    """Within five standard deviations; what has no probability never comes."""
    expected = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    rows = expected.repeat(DRAWS, 1)
    drawn = draw(rows, seeded(*range(DRAWS)) if own_seeds else {})
    shares = torch.bincount(drawn, minlength=len(expected)) / DRAWS
    for share, probability in zip(shares.tolist(), expected.tolist(), strict=True):
        deviation = math.sqrt(probability * (1 - probability) / DRAWS)
        assert abs(share - probability) <= 5 * deviation


def test_one_generator_draws_one_after_the_other_from_the_distribution():
    generators = seeded(7)
    rows = torch.tensor([[0.25, 0.75]])
    drawn = [int(draw(rows, generators)) for _ in range(4000)]
    assert abs(sum(drawn) / 4000 - 0.75) < 5 * math.sqrt(0.25 * 0.75 / 4000)


def test_a_seed_decides_and_no_other_row():
    rows = torch.full((3, 1000), 1e-3)
    one, two = draw(rows, seeded(1, 2, 3)), draw(rows, seeded(1, 5, 3))
    assert (one == two).tolist() == [True, False, True]


@pytest.mark.parametrize("number", [0.0, 1.0 - 2**-53])
def test_the_ends_are_words_that_may_come(number, monkeypatch):
    """Sums of float32 probabilities are not exactly 1."""
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, number).double())
    rows = torch.zeros(1, 9)
    rows[0, 2:7] = 0.19999
    assert int(draw(rows, {})) == (2 if number == 0.0 else 6)
