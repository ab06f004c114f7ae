"""Random look-alikes of Qwen2-VL and Qwen3-VL, with the tokenizer and images of Qwen2.5-VL's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from tests.support.models.tiny_parts import CONTEXT, perturb, save
from tests.support.models.tiny_qwen2_5_vl import (
    CHAT_TEMPLATE,
    MERGE,
    PATCH,
    SIZES,
    TEMPORAL,
    qwen_tokenizer,
)


def build_tiny_qwen2_vl(path: Path, seed: int = 0) -> Path:
    """Write model (bf16), tokenizer and processor to `path`; the same seed, the same weights."""
    tokenizer = qwen_tokenizer()
    config = Qwen2VLConfig(
        text_config=_text(tokenizer) | {"rope_parameters": _rope()},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 64,
            "mlp_ratio": 2,
            "num_heads": 2,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": TEMPORAL,
            "in_channels": 3,
            "initializer_range": 0.2,
        },
        **_tokens(tokenizer),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = perturb(Qwen2VLForConditionalGeneration(config))
    images, videos = Qwen2VLImageProcessor(**SIZES), Qwen2VLVideoProcessor(**SIZES)
    processor = Qwen2VLProcessor(images, tokenizer, videos, chat_template=CHAT_TEMPLATE)
    return save(model, processor, Path(path))


def build_tiny_qwen3_vl(path: Path, seed: int = 0) -> Path:
    """The same of Qwen3-VL: three decoder layers, DeepStack features behind two of them."""
    tokenizer = qwen_tokenizer()
    text = _text(tokenizer) | {"rope_parameters": _rope() | {"mrope_interleaved": True}}
    config = Qwen3VLConfig(
        text_config=text | {"num_hidden_layers": 3, "head_dim": 32},
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": TEMPORAL,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
            "in_channels": 3,
            "initializer_range": 0.2,
        },
        **_tokens(tokenizer),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = perturb(Qwen3VLForConditionalGeneration(config))
    images, videos = Qwen2VLImageProcessor(**SIZES), Qwen3VLVideoProcessor(**SIZES)
    processor = Qwen3VLProcessor(images, tokenizer, videos, chat_template=CHAT_TEMPLATE)
    return save(model, processor, Path(path))


def _rope() -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e6}


def _text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Initial weights wide enough that log-probabilities differ by several nats."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    token = tokenizer.convert_tokens_to_ids
    return {
        "tie_word_embeddings": False,
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
    }
