"""A random InternVL look-alike in the transformers layout: tiles, a thumbnail, a Qwen2 decoder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from tests.support.models.tiny_parts import CONTEXT, byte_level, perturb, save

TILE, PATCH, TILE_TOKENS = 16, 4, 4  # pixels, pixels, tokens of a tile: (16 / 4 / 2)²
MAX_TILES = 3
NAMED = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *NAMED.values())
# The checkpoint's own, without the system turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<IMG_CONTEXT>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tiny_internvl(path: Path, seed: int = 0) -> Path:
    """Write model (bf16), tokenizer and processor to `path`; the same seed, the same weights."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(SPECIAL, qwen=True),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=NAMED,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = perturb(InternVLForConditionalGeneration(_config(tokenizer)))
    sizes = {
        "size": {"height": TILE, "width": TILE},
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
    }
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(**sizes, max_patches=MAX_TILES),
        tokenizer,
        InternVLVideoProcessor(**sizes),
        image_seq_length=TILE_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )
    return save(model, processor, Path(path))


def _config(tokenizer: PreTrainedTokenizerFast) -> InternVLConfig:
    """Initial weights wide enough that log-probabilities differ by several nats."""
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        use_sliding_window=False,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "attention_bias": True,
        "image_size": [TILE, TILE],
        "patch_size": [PATCH, PATCH],
        "initializer_range": 0.2,
        "use_mean_pooling": True,
    }
    return InternVLConfig(
        text_config=text,
        vision_config=vision,
        image_seq_length=TILE_TOKENS,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
