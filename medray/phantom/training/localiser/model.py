"""The tiny localiser: a CLIPSeg with a small vocabulary, and its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    PreTrainedTokenizerFast,
    ViTImageProcessor,
)

from medray.phantom.studies.render import IMAGE_SIZE

START, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<unk>"
MAX_TOKENS = 16
MEAN, STD = 0.4, 0.25


def make_tokenizer(phrases: Iterable[str]) -> PreTrainedTokenizerFast:
    """One token per lower-case word of the phrases, between start and end."""
    words = sorted({word for phrase in phrases for word in phrase.lower().split()})
    tokens = {token: i for i, token in enumerate((START, END, UNKNOWN, *words))}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(t, tokens[t]) for t in (START, END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> CLIPSegForImageSegmentation:
    """An untrained fp32 model, initialised from torch's current seed."""
    config = CLIPSegConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": MAX_TOKENS,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": 6,
        },
        projection_dim=32,
        extract_layers=[1, 2, 3],
        reduce_dim=32,
        decoder_intermediate_size=64,
    )
    model = CLIPSegForImageSegmentation(config)
    # transformers draws the decoder's weights with a deviation of 1, from which little is learnt.
    for layer in model.decoder.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    torch.nn.init.ones_(model.decoder.film_mul.bias)  # the picture passes, whatever the phrase
    return model


def save_localiser(
    model: CLIPSegForImageSegmentation, tokenizer: PreTrainedTokenizerFast, out: Path
) -> None:
    """Write model (bf16) and processor so that transformers loads every weight."""
    images = ViTImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )
    model.to(torch.bfloat16).eval().save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    CLIPSegProcessor(images, tokenizer).save_pretrained(out)


def map_logits(
    model: CLIPSegForImageSegmentation, pixels: Tensor, ids: Tensor, attention: Tensor
) -> Tensor:
    """Logits [B, H, W] with gradients for all weights; the model's own forward freezes the towers.

    pixels [B, 3, H, W], ids and attention [B, T].
    """
    seen = model.clip.vision_model(pixels, output_hidden_states=True).hidden_states
    layers = [seen[layer + 1] for layer in model.config.extract_layers]
    text = model.clip.get_text_features(input_ids=ids, attention_mask=attention).pooler_output
    return model.decoder(layers, text).logits
