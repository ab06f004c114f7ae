"""The log-ratio of every token of a few pairs, against the naive oracle; and which few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medray.objectives import find_objective
from medray.policy.architectures import ARCHITECTURES
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model
from medray.policy.model.tuning import base_model
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring import FrozenModel, Scorer, pair_scores
from medray.policy.scoring.ledger_scores import KEPT_OF_A_RUN, draw, kept_of_step, token_ratios
from medray.policy.scoring.score_pairs import score_and_look
from tests.support.datasets.pairs import distribution, sample

FIRE = find_objective("fire").needs_for(find_objective("fire").resolve({}))


def with_offsets(pair: PackedPair) -> PackedPair:
    """As if every token held two characters."""

    def aligned(side: Side) -> Side:
        starts = 2 * np.arange(len(side.ids))
        return replace(side, offsets=np.stack([starts, starts + 2], axis=1))

    return replace(pair, chosen=aligned(pair.chosen), rejected=aligned(pair.rejected))


@pytest.fixture(scope="module", params=["tiny_llava", "tiny_qwen2_5_vl", "tiny_gemma3"])
def world(request):
    path = request.getfixturevalue(request.param)
    codec = ChatCodec(path)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 44, 3), dtype=np.uint8) for _ in range(2)]
    model, other = (load_model(path, "float32").eval() for _ in range(2))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in other.parameters():
            p += 0.02 * torch.randn(p.shape, generator=noise)
    prompts = [codec.encode(f"Question {i}.", image) for i, image in enumerate(images)]
    drawn = sample(prompts)
    architecture = ARCHITECTURES[type(model).__name__]
    scorers = [Scorer(m, architecture, m.config.image_token_id) for m in (model, other)]
    pairs = [with_offsets(pair) for pair in drawn.pairs]
    models = {"policy": scorers[0], "reference": FrozenModel(scorers[1], same_vision=False)}
    return (model, other), pairs, drawn.pixels, models


def naive_ratios(both, pair: PackedPair, name: str, pixels) -> torch.Tensor:
    ids = pair.side(name).ids
    pictures = [pixels[key] for key in pair.image_keys]
    steps = torch.arange(len(ids))
    with torch.no_grad():
        logps = [
            distribution(m, pair.context_ids, ids, pictures)[steps, torch.from_numpy(ids)]
            for m in both
        ]
    return logps[0] - logps[1]


def test_every_token_has_its_own_ratio(world):
    """Whatever shares a tree: two sentences of one answer, another question on the same image."""
    both, pairs, pixels, models = world
    own, order = [pairs[i] for i in (3, 0, 7, 8, 9, 1)], [0, 5, 2]
    _, found = score_and_look(own, pixels, FIRE, order, **models)
    assert len(found) == len(order)
    spread = set()
    for ratios, pair in zip(found, (own[i] for i in order), strict=True):
        kept = token_ratios(pair, ratios)
        assert kept.pair_id == pair.pair_id
        for name, tokens in (("chosen", kept.chosen), ("rejected", kept.rejected)):
            naive = naive_ratios(both, pair, name, pixels).tolist()
            assert [(t.start, t.end) for t in tokens] == [
                (2 * n, 2 * n + 2) for n in range(len(naive))
            ]
            assert [t.log_ratio for t in tokens] == pytest.approx(naive, abs=0.0051)
            spread |= {t.log_ratio for t in tokens}
    assert len(spread) > 25


def test_to_look_changes_neither_scores_nor_gradients(world):
    _, pairs, pixels, models = world
    own, policy = pairs[:5], models["policy"]
    weight = base_model(policy.policy).model.language_model.layers[0].mlp.up_proj.weight
    found = []
    for looked_at in ((), (1, 4)):
        policy.zero_grad()
        scores, _ = score_and_look(own, pixels, FIRE, looked_at, **models)
        loss, _ = find_objective("fire")(scores)
        loss.sum().backward()
        found.append((scores, weight.grad.clone()))
    (plain, gradient), (looking, other) = found
    for branch in FIRE.branches:
        for name, value in plain[branch].items():
            torch.testing.assert_close(looking[branch][name], value, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other, gradient, rtol=1e-4, atol=1e-6 * float(gradient.norm()))


def test_the_edited_tokens_add_up_to_the_ledger_s_sums(world):
    _, pairs, pixels, models = world
    few = pairs[:4]
    scores, found = score_and_look(few, pixels, FIRE, range(4), **models)
    sums = pair_scores(few, scores, torch.zeros(len(few)))
    for score, (chosen, _), pair in zip(sums, found, few, strict=True):
        edited = [r for r, is_edited in zip(chosen, pair.chosen.edited, strict=True) if is_edited]
        assert sum(edited) == pytest.approx(score.chosen_logp - score.chosen_ref_logp, abs=1e-3)


def test_few_are_drawn_whatever_the_length_of_the_run(world):
    _, pairs, *_ = world
    many = [replace(pairs[0], pair_id=f"p{i}") for i in range(64)]
    first = draw(many, 4, seed=5)
    assert len(first) == 4
    assert first == draw(many[::-1], 4, seed=5) != draw(many, 4, seed=6)
    assert draw([], 4, seed=5) == []
    unknown = [replace(p, chosen=replace(p.chosen, offsets=None)) for p in many]
    assert draw(unknown, 4, seed=5) == []


@pytest.mark.parametrize("steps", [1, 7, 400, 401, 3000, 100_000])
def test_a_run_of_any_length_keeps_as_many_as_a_report_shows(steps):
    kept = [kept_of_step(32, version, steps) for version in range(steps)]
    assert min(4 * steps, KEPT_OF_A_RUN) / 2 <= sum(kept) <= KEPT_OF_A_RUN
    assert kept[0] == (4 if steps <= 400 else 0)
    assert [kept_of_step(pairs, 0, 20) for pairs in (1, 9, 16, 500)] == [1, 1, 2, 4]
