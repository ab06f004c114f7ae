"""The tiny base model: a LLaVA with CLIP tower, GELU projector and a decoder, and its files."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from medray.phantom.studies.render import IMAGE_SIZE
from medray.phantom.training.families import IMAGE, MISTRAL, Family
from medray.phantom.training.tokenizer import IMAGE_TOKENS, PATCH_SIZE

_TOWER, _HUB_TOWER = "vision_tower.", "vision_tower.vision_model."


def make_model(
    tokenizer: PreTrainedTokenizerFast, family: Family = MISTRAL
) -> LlavaForConditionalGeneration:
    """An untrained fp32 model, initialised from torch's current seed."""
    vision = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )
    text = family.decoder(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(make_config(tokenizer, vision, text))


def make_config(
    tokenizer: PreTrainedTokenizerFast, vision: CLIPVisionConfig, text: PreTrainedConfig
) -> LlavaConfig:
    """Tower and decoder joined by a projector; the output layer as the decoder has it."""
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
        image_seq_length=IMAGE_TOKENS,
        projector_hidden_act="gelu",
        tie_word_embeddings=text.tie_word_embeddings,
    )


def save_base(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    out: Path,
    *,
    max_new_tokens: int,
) -> None:
    """Write the model (bf16) and processor so that transformers and vLLM load every weight."""
    model = model.to(torch.bfloat16).eval()
    tokenizer = processor.tokenizer
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=max_new_tokens,
    )
    model.save_pretrained(out)
    _to_hub_names(out / "model.safetensors")
    processor.save_pretrained(out)


def _to_hub_names(path: Path) -> None:
    """Rename the tower's weights as in published LLaVA checkpoints, which vLLM expects."""
    weights = {
        name.replace(_TOWER, _HUB_TOWER)
        if _TOWER in name and _HUB_TOWER not in name
        else name: value
        for name, value in load_file(path).items()
    }
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)
