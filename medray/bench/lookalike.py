"""A model directory with random weights: a LLaVA of any width beside the shipped model's tower."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from medray.policy.model.loading import resolve_model_path

BASE = "phantom/base"  # tokenizer, processor and vision tower are the shipped model's
HEAD = 64


def write_lookalike(folder: Path, width: int, layers: int, vocabulary: int | None = None) -> None:
    """Write it in bfloat16; `vocabulary`: rows of embedding and head, None: as many as shipped."""
    from transformers import AutoConfig, LlavaForConditionalGeneration

    base = resolve_model_path(BASE)
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    text = config.text_config
    heads = width // HEAD
    text.hidden_size, text.intermediate_size, text.head_dim = width, 4 * width, HEAD
    text.num_attention_heads, text.num_key_value_heads = heads, max(1, heads // 4)
    text.num_hidden_layers = layers
    text.vocab_size = vocabulary or text.vocab_size
    previous_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = LlavaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(previous_dtype)
    model.save_pretrained(folder)
    for file in base.iterdir():
        if file.suffix in (".json", ".jinja") and not (folder / file.name).exists():
            shutil.copy(file, folder / file.name)
