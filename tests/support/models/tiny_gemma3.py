"""A random Gemma 3 look-alike: image tokens see each other, half of the layers slide."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    PreTrainedTokenizerFast,
)

from tests.support.models.tiny_parts import CONTEXT, byte_level, perturb, save

IMAGE_SIZE, PATCH, IMAGE_TOKENS = 32, 8, 16
WINDOW = 12  # less than an image's tokens and than an answer
NAMED = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}
SPECIAL = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *NAMED.values())
# The checkpoint's own, without the system turn. Its tokenizer's <eos> does not end a turn.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "<start_of_turn>{{ role }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def build_tiny_gemma3(path: Path, seed: int = 0) -> Path:
    """Write model (bf16), tokenizer and processor to `path`; the same seed, the same weights."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(SPECIAL),
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        additional_special_tokens=["<start_of_turn>", "<end_of_turn>"],
        extra_special_tokens=NAMED,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Gemma3ForConditionalGeneration(_config(tokenizer))
        with torch.no_grad():  # a matrix of zeros as it is made: no image would be seen
            model.model.multi_modal_projector.mm_input_projection_weight.normal_(std=0.5)
        perturb(model)
    images = Gemma3ImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.5] * 3, image_std=[0.25] * 3
    )
    processor = Gemma3Processor(
        images, tokenizer, image_seq_length=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    )
    return save(model, processor, Path(path))


def _config(tokenizer: PreTrainedTokenizerFast) -> Gemma3Config:
    """Initial weights wide enough that log-probabilities differ by several nats."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH,
        "vision_use_head": False,
    }
    token = tokenizer.convert_tokens_to_ids
    return Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=IMAGE_TOKENS,
        image_token_index=token("<image_soft_token>"),
        boi_token_index=token("<start_of_image>"),
        eoi_token_index=token("<end_of_image>"),
        eos_token_id=token("<end_of_turn>"),
    )
