"""First stage: the tower and the projector learn to see, before any language is trained.

Small probe heads, one per attribute, attend over the projected image tokens, as the
language model will, and predict the attribute's value. They are discarded afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from medray.phantom.styles import Style
from medray.phantom.training.batches import Pool, label_values, pixels
from medray.phantom.training.optimise import Optimiser, Progress, Stage


class Heads(nn.Module):
    """Image tokens [B, N, D] → the logits of the values of every attribute."""

    def __init__(self, width: int, values: list[tuple[str, ...]]) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.2 * torch.randn(len(values), width))
        self.keys = nn.Linear(width, width)
        self.classifiers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(choices))) for choices in values
        )

    def forward(self, tokens: Tensor) -> list[Tensor]:
        scores = self.keys(tokens) @ self.queries.T * (4 / tokens.shape[-1] ** 0.5)
        attended = scores.softmax(dim=1).transpose(1, 2) @ tokens  # [B, A, D]
        return [classify(attended[:, i]) for i, classify in enumerate(self.classifiers)]


def patch_features(model: LlavaForConditionalGeneration, pixel_values: Tensor) -> Tensor:
    """Input of the projector: the tower's patches without the class token, [B, N, V]."""
    tower = model.model.vision_tower(pixel_values, output_hidden_states=True)
    return tower.hidden_states[model.config.vision_feature_layer][:, 1:]


def image_tokens(model: LlavaForConditionalGeneration, pixel_values: Tensor) -> Tensor:
    """Input of the language model: projected features [B, N, D] of images [B, 3, H, W]."""
    return model.model.multi_modal_projector(patch_features(model, pixel_values))


def learn_to_see(
    model: LlavaForConditionalGeneration,
    style: Style,
    pool: Pool,
    stage: Stage,
    progress: Progress,
    *,
    seed: int,
) -> Heads:
    """Train tower and projector in place; the heads are returned for measuring only."""
    heads = Heads(model.config.text_config.hidden_size, label_values(style))
    parts = (model.model.vision_tower, model.model.multi_modal_projector, heads)
    optimiser = Optimiser((p for part in parts for p in part.parameters()), stage, progress)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(stage.steps):
        rows = torch.randint(len(pool), (stage.batch,), generator=draws)
        predictions = heads(image_tokens(model, pixels(pool.images[rows.numpy()])))
        labels = pool.labels[rows]
        optimiser.step(
            sum(F.cross_entropy(logits, labels[:, i]) for i, logits in enumerate(predictions))
        )
    return heads


@torch.no_grad()
def seen_exactly(model: LlavaForConditionalGeneration, heads: Heads, pool: Pool) -> float:
    """Share of studies for which the heads predict all attributes correctly."""
    predictions = heads(image_tokens(model, pixels(pool.images)))
    right = [logits.argmax(-1) == pool.labels[:, i] for i, logits in enumerate(predictions)]
    return torch.stack(right).all(dim=0).float().mean().item()
