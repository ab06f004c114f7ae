"""A random Qwen2.5-VL look-alike: window attention, M-RoPE, images of any size."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from tests.support.models.tiny_parts import CONTEXT, byte_level, perturb, save

PATCH, MERGE, TEMPORAL = 4, 2, 2
CELL = PATCH * MERGE  # an image token is CELL × CELL pixels
MIN_CELLS, MAX_CELLS = 4, 12
SIZES = {
    "patch_size": PATCH,
    "merge_size": MERGE,
    "temporal_patch_size": TEMPORAL,
    "min_pixels": MIN_CELLS * CELL**2,
    "max_pixels": MAX_CELLS * CELL**2,
    "image_mean": [0.5] * 3,
    "image_std": [0.25] * 3,
}
PATCH_DIM = 3 * TEMPORAL * PATCH**2
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# The checkpoint's own, without the system turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tiny_qwen2_5_vl(path: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """Write model (bf16), tokenizer and processor to `path`; the same seed, the same weights.

    `tied`: the head shares the embeddings' weights, as in the published 3 B model.
    """
    tokenizer = qwen_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = perturb(Qwen2_5_VLForConditionalGeneration(_config(tokenizer, tied)))
    return save(model, _processor(tokenizer), Path(path))


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level(SPECIAL, qwen=True),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )


def _processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    return Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**SIZES),
        tokenizer,
        Qwen2VLVideoProcessor(**SIZES),
        chat_template=CHAT_TEMPLATE,
    )


def _config(tokenizer: PreTrainedTokenizerFast, tied: bool) -> Qwen2_5_VLConfig:
    """Initial weights wide enough that log-probabilities differ by several nats."""
    token = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e6}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.2,
        "rope_parameters": rope,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": TEMPORAL,
        "window_size": 2 * CELL,
        "fullatt_block_indexes": [1],
        "in_channels": 3,
        "initializer_range": 0.2,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=tied,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
