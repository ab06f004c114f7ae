"""Pairs in micro-batches: none needs more memory than is planned for, and none changes a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medray.objectives import OBJECTIVES
from medray.objectives.base import Needs
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.forest import Layout, count_cells
from medray.policy.scoring.score_pairs import batch_pairs, pair_branches
from tests.support.datasets.pairs import Sample, edited_sides, naive_scores
from tests.support.worlds import World, require_gradients, score, scorer_of
from tests.unit.policy.scoring.test_forest import BRANCHES, LAYOUTS, LLAVA, needs, pairs

LAYOUT = Layout(LLAVA, 99, 1e4)
BOTH = Needs(BRANCHES[:2], "response")


def cells(own: list[PackedPair], required: Needs, layout: Layout) -> int:
    return count_cells([branch for _, _, branch in pair_branches(own, required)], layout)


@given(st.lists(pairs(), min_size=1, max_size=9), needs(), LAYOUTS, st.integers(1, 4))
def test_no_micro_batch_needs_more_than_its_pairs_alone(drawn, required, layout, micro_batch):
    shares = batch_pairs(drawn, required, layout, micro_batch)
    assert sorted(i for share in shares for i in share) == list(range(len(drawn)))
    assert all(shares)
    limit = micro_batch * max(cells([pair], required, layout) for pair in drawn)
    for share in shares:
        assert cells([drawn[i] for i in share], required, layout) <= limit


def pair(image: str, question: int, answer: int, tail: int) -> PackedPair:
    """24 image tokens, 4 of a question, 6 of the answer so far; then 6 that differ at once."""
    prompt = np.asarray([1, *[99] * 24, *[question] * 4])
    sides = (Side(np.full(7, 20 + 2 * tail + k), np.ones(7, bool)) for k in (0, 1))
    return PackedPair("p", prompt, *sides, (image,), (), 1.0, np.full(6, 60 + answer))


def test_pairs_on_one_image_stay_together_while_they_fit():
    """Three pairs on each image: 25 + 4 + 6 + 6 · 6 cells, two alone 2 · (25 + 4 + 6 + 2 · 6)."""
    drawn = [pair("ab"[i % 2], 5, 0, i) for i in range(6)]
    for micro_batch, most in ((2, 3), (9, 6)):
        shares = batch_pairs(drawn, BOTH, LAYOUT, micro_batch=micro_batch)
        assert {len(share) for share in shares} == {most}
    assert batch_pairs([], BOTH, LAYOUT, micro_batch=9) == []


def test_many_pairs_on_one_image_are_several_micro_batches():
    """7 questions, 4 answers, 3 sentences: those of a question are neighbours in the split."""
    drawn = [pair("a", q, a, t) for t in range(3) for a in range(4) for q in range(5, 12)]
    limit = 4 * cells(drawn[:1], BOTH, LAYOUT)
    assert cells(drawn, BOTH, LAYOUT) > 5 * limit
    shares = batch_pairs(drawn, BOTH, LAYOUT, micro_batch=4)
    assert 6 < len(shares) < len(drawn) / 4, "as few as fit"
    for share in shares:
        assert cells([drawn[i] for i in share], BOTH, LAYOUT) <= limit
        assert len({int(drawn[i].prompt_ids[-1]) for i in share}) <= 2


def test_answers_of_one_question_are_split_where_each_has_an_image_of_its_own():
    """Eight answers share the clean image, and no two the corrupted one: two at a time fit."""
    drawn = [pair("a", 5, 0, tail) for tail in range(8)]
    for number, one in enumerate(drawn):
        object.__setattr__(one, "corrupted_keys", (f"v{number}",))
    required = Needs(BRANCHES, "response")
    limit = 2 * cells(drawn[:1], required, LAYOUT)
    shares = batch_pairs(drawn, required, LAYOUT, micro_batch=2)
    assert [len(share) for share in shares] == [2] * 4
    assert cells(drawn, required, LAYOUT) > 2 * limit


def on_one_image(world: World) -> Sample:
    """2 questions, 2 answers each and 2 sentences of each, all of them on the same two pictures."""
    rng, first = np.random.default_rng(5), world.pairs[0]
    drawn = []
    for number in range(8):
        question, answer = divmod(number // 2, 2)
        words = np.random.default_rng(question).integers(10, 200, 4)
        prompt = np.concatenate([first.prompt_ids[:-3], words, first.prompt_ids[-1:]])
        prefix = np.random.default_rng(10 + question + 2 * answer).integers(10, 200, 5)
        sides = edited_sides("middle", rng)
        keys = (first.image_keys, first.corrupted_keys)
        drawn.append(
            PackedPair(str(number), prompt, *sides, *keys, 0.8 + number / 20, prefix[: number % 6])
        )
    return Sample(drawn, world.pixels)


@pytest.mark.parametrize("name", ["fire", "dpo", "tdpo2"])
def test_the_split_of_one_image_changes_neither_loss_nor_gradients(name, tiny_llava):
    """Summed over micro-batches, as the learner does: what the naive oracle has for all pairs."""
    world, objective = World(tiny_llava), OBJECTIVES[name]
    world.pairs = on_one_image(world).pairs
    ours, plain = world.policy("lora"), world.policy("lora")
    layout = scorer_of(ours).layout
    shares = batch_pairs(world.pairs, objective.needs, layout, micro_batch=2)
    assert 2 <= len(shares) <= len(world.pairs) / 2
    losses = torch.zeros(len(world.pairs))
    for share in shares:
        loss, _ = objective(score(world, ours, objective.needs, [world.pairs[i] for i in share]))
        (loss.sum() / len(world.pairs)).backward()
        losses[share] = loss.detach()
    expected, _ = objective(
        naive_scores(plain, world.model, world.pairs, world.pixels, objective.needs)
    )
    expected.mean().backward()
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-5, atol=1e-6)
    require_gradients(ours, plain)
