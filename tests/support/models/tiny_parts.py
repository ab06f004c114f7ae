"""What the look-alikes share: tokenizers, and models written to disk in the hub's layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn

CONTEXT = 160
CORPUS = (
    "There is a small nodule in the left upper zone.",
    "Large right-sided pleural effusion. The heart is enlarged.",
    "Is there a cavity on the right side? No focal lesion is seen.",
)
# How Qwen2 splits words: single digits, a line break joined to the punctuation before it.
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(special: Sequence[str], vocabulary: int = 340, *, qwen: bool = False) -> Tokenizer:
    """Byte-level BPE with a few merges: any text survives the round trip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if qwen:
        words = pre_tokenizers.Split(Regex(QWEN_WORDS), behavior="isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, plain])
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return tokenizer


def perturb(model: nn.Module, std: float = 0.1) -> nn.Module:
    """Move biases and norms away from zeros and ones, so that one not loaded is noticed."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += std * torch.randn_like(parameter)
    return model


def save(model: Any, processor: Any, path: Path) -> Path:
    """Save model (bf16 safetensors, under the hub's names), tokenizer and processor."""
    model.to(torch.bfloat16).save_pretrained(path)
    processor.save_pretrained(path)
    return path
