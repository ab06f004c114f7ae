"""The baseline of KTO: each answer under another pair's image and prompt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medray.policy.architectures import ARCHITECTURES
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model
from medray.policy.scoring.kto_baseline import log_ratios, mismatched_pairs
from medray.policy.scoring.score_pairs import FrozenModel
from medray.policy.scoring.scorer import Scorer
from tests.support.datasets.pairs import distribution, sample

ARCHITECTURE = ARCHITECTURES["LlavaForConditionalGeneration"]


@pytest.fixture(scope="module")
def world(tiny_llava):
    codec = ChatCodec(tiny_llava)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(3)]
    model = load_model(tiny_llava, "float32").eval()
    other = load_model(tiny_llava, "float32").eval()
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in other.parameters():
            p += 0.02 * torch.randn(p.shape, generator=noise)
    return model, other, sample([codec.encode(f"Question {i}.", x) for i, x in enumerate(images)])


def test_the_other_pair_is_the_next_one_with_another_image_or_prompt(world):
    *_, drawn = world
    a, b, c = drawn.pairs[:3]
    twin = replace(a, pair_id="twin")
    mismatched = mismatched_pairs([a, twin, b, c])
    assert [(own.pair_id, other.pair_id) for own, other in mismatched] == [
        (a.pair_id, b.pair_id),
        ("twin", b.pair_id),
        (b.pair_id, c.pair_id),
        (c.pair_id, a.pair_id),
    ]
    assert mismatched_pairs([a, twin]) == []


def test_ratios_agree_with_the_naive_oracle(world):
    model, other, drawn = world
    mismatched = mismatched_pairs(drawn.pairs)
    scorers = [Scorer(m, ARCHITECTURE, m.config.image_token_id) for m in (model, other)]
    got = log_ratios(
        mismatched,
        drawn.pixels,
        policy=scorers[0],
        reference=FrozenModel(scorers[1], same_vision=False),
    )
    for ratio, (own, second) in zip(got, mismatched, strict=True):
        ids = own.chosen.ids
        picture = [drawn.pixels[key] for key in second.image_keys]
        steps = torch.arange(len(ids))
        prompt = np.concatenate([second.prompt_ids, own.prefix_ids])
        with torch.no_grad():
            logps = [
                distribution(m, prompt, ids, picture)[steps, torch.from_numpy(ids)].sum()
                for m in (model, other)
            ]
        assert ratio == pytest.approx(float(logps[0] - logps[1]), rel=1e-4, abs=1e-4)
    assert len({round(ratio, 2) for ratio in got}) > 3
