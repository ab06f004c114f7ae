"""The predicted activations against those of a real forward pass of the scorer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, MistralConfig

from medray.config import LoraConfig, ModelConfig
from medray.memory.activations import bytes_per_token
from medray.objectives import OBJECTIVES
from medray.policy import bfloat16_attention
from medray.policy.architectures import ARCHITECTURES
from medray.policy.model.tuning import prepare_policy
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.forest import build_forest
from medray.policy.scoring.score_pairs import AdaptersOff, pair_branches, score_pairs
from medray.policy.scoring.scorer import Scorer

IMAGE, PATCHES = 5, 144
ROWS = (200, 64)  # tokens of a prompt and of an answer


def shape(hidden: int, layers: int, heads: int, kv: int) -> LlavaConfig:
    text = MistralConfig(
        vocab_size=2000,
        hidden_size=hidden,
        intermediate_size=int(hidden * 3.5),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=hidden // heads,
        sliding_window=None,
        max_position_embeddings=4096,
    )
    vision = CLIPVisionConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        image_size=48,
        patch_size=4,
    )
    return LlavaConfig(text_config=text, vision_config=vision, image_token_index=IMAGE)


def pair() -> tuple[PackedPair, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    prompt_length, length = ROWS
    words = rng.integers(10, 1900, prompt_length - PATCHES - 1)
    prompt = np.concatenate([[1], np.full(PATCHES, IMAGE), words])
    chosen, edited = rng.integers(10, 1900, length), np.zeros(length, bool)
    edited[1:4] = True
    rejected = np.where(edited, 9, chosen)
    pixels = {key: rng.normal(size=(3, 48, 48)).astype(np.float32) for key in ("x", "v")}
    sides = Side(chosen, edited), Side(rejected, edited)
    return PackedPair("p", prompt, *sides, ("x",), ("v",), 1.0), pixels


def kept_bytes(policy, scorer: Scorer) -> tuple[int, int]:
    """Bytes that autograd keeps of the loss of one pair, and the tokens of its rows."""
    example, pixels = pair()
    needs = OBJECTIVES["dpo"].needs
    found, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        found[storage._cdata] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        reference = AdaptersOff(scorer)
        scores = score_pairs([example], pixels, needs, policy=scorer, reference=reference)
        OBJECTIVES["dpo"](scores)
    for parameter in policy.parameters():
        found.pop(parameter.untyped_storage()._cdata, None)
    branches = [branch for *_, branch in pair_branches([example], needs)]
    shapes = {key: picture.shape for key, picture in pixels.items()}
    return sum(found.values()), build_forest(branches, shapes, scorer.layout).ids.size


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("sizes", [(256, 6, 8, 2), (512, 4, 8, 8)])
def test_predictions_are_within_15_percent(sizes, dtype, monkeypatch):
    """With torch's attention, which the plan counts; medray's own on CPUs keeps less."""
    monkeypatch.setattr(bfloat16_attention, "_is_able", lambda: False)
    config, tuning = shape(*sizes), ModelConfig(lora=LoraConfig(rank=16))
    architecture = ARCHITECTURES["LlavaForConditionalGeneration"]
    with torch.device("meta"):
        without_memory = prepare_policy(LlavaForConditionalGeneration(config), tuning).to(dtype)
    policy = prepare_policy(LlavaForConditionalGeneration(config).to(dtype), tuning).to(dtype)
    measured, tokens = kept_bytes(policy, Scorer(policy, architecture, IMAGE))
    kept, again = bytes_per_token(without_memory, checkpointing=False)
    assert again == 0
    predicted = tokens * kept
    assert predicted == pytest.approx(measured, rel=0.15)


def test_checkpointing_keeps_what_layers_begin_with():
    config, tuning = shape(256, 6, 8, 2), ModelConfig(lora=LoraConfig(rank=16))
    with torch.device("meta"):
        policy = prepare_policy(LlavaForConditionalGeneration(config), tuning)
    complete, _ = bytes_per_token(policy, checkpointing=False)
    assert bytes_per_token(policy, checkpointing=True) == (6 * 256 * 4, complete / 5)
