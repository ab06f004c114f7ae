"""A look-alike model, tuned, with pairs for it; and trees held against the naive oracle."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch

from medray.config import LoraConfig, ModelConfig
from medray.policy.architectures import ARCHITECTURES
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model
from medray.policy.model.tuning import base_model, prepare_policy
from medray.policy.scoring.score_pairs import AdaptersOff, FrozenModel, score_pairs
from medray.policy.scoring.scorer import Scorer
from tests.support.datasets.pairs import naive_scores, sample

GROUPS = ("language", "projector", "vision")
TUNING = {
    "lora": ModelConfig(lora=LoraConfig(rank=4, alpha=8.0)),
    "lora on everything": ModelConfig(lora=LoraConfig(rank=4, alpha=8.0, targets=GROUPS)),
    "full language": ModelConfig(lora=None, trainable=("language",)),
    "full": ModelConfig(lora=None, trainable=GROUPS),
}
SIZES = ((24, 20), (16, 40), (32, 32))  # rows × columns of the images


class World:
    """One tiny look-alike model, and a sample of pairs for it, with so many images each."""

    def __init__(self, path: Path, count: int = 1):
        codec = ChatCodec(path)
        self.model = load_model(path, "float32").eval()
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
        questions = ("Describe.", "Is there a nodule on the left side?", "Where?")
        shown = [[images[(i + k) % len(images)] for k in range(count)] for i in range(len(images))]
        self.sample = sample([codec.encode(q, *i) for q, i in zip(questions, shown, strict=True)])
        self.pairs, self.pixels = self.sample.pairs, self.sample.pixels

    def policy(self, tuning: str):
        """A tuned copy that differs from the reference; the same one every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            policy = prepare_policy(copy.deepcopy(self.model), TUNING[tuning])
        rng = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, p in policy.named_parameters():
                if p.requires_grad and ".lora_A." not in name:
                    p += 0.05 * torch.randn(p.shape, generator=rng)
        return policy


def scorer_of(policy, **options) -> Scorer:
    model = base_model(policy)
    return Scorer(
        policy, ARCHITECTURES[type(model).__name__], model.config.image_token_id, **options
    )


def score(world, policy, needs, pairs=None, **options):
    scorer = scorer_of(policy, **options)
    reference = AdaptersOff(scorer)
    if not hasattr(policy, "peft_config"):
        reference = FrozenModel(scorer_of(world.model))
    return score_pairs(
        pairs or world.pairs, world.pixels, needs, policy=scorer, reference=reference
    )


def close(got, expected, what):
    """Equal to within 1e-5 of the largest value (zeros to within rounding)."""
    size = expected.abs().max()
    assert (got - expected).abs().max() <= 1e-5 * size + 1e-6, what


def require_naive_gradients(objective, tuning: str, world: World) -> None:
    """Loss and every gradient as the naive oracle has them: fp32, 1e-5."""
    ours, plain = world.policy(tuning), world.policy(tuning)
    loss, _ = objective(score(world, ours, objective.needs))
    loss.mean().backward()
    expected, _ = objective(
        naive_scores(plain, world.model, world.pairs, world.pixels, objective.needs)
    )
    expected.mean().backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    require_gradients(ours, plain)


def require_gradients(ours: torch.nn.Module, plain: torch.nn.Module) -> None:
    """Those of `plain`, whose values are right: fp32, 1e-5."""
    gradients = {key: p.grad for key, p in ours.named_parameters() if p.grad is not None}
    wanted = {key: p.grad for key, p in plain.named_parameters() if p.grad is not None}
    assert gradients.keys() == wanted.keys() != set()
    size = max(float(gradient.norm()) for gradient in wanted.values())
    assert size > 1e-4
    for key, gradient in wanted.items():
        gap = (gradients[key] - gradient).norm()
        assert gap <= 1e-5 * gradient.norm() + 1e-5 * size, (key, float(gap / gradient.norm()))
