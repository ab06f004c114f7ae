"""Models of known shapes with random weights, built from a configuration without downloads."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medray.bench.learner.settings import CONTEXT, SHAPES, Settings
from medray.config import LoraConfig, ModelConfig
from medray.policy.model.tuning import prepare_policy

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PATCH, MERGE = 14, 2  # pixels per patch edge; patches per token edge (Qwen2.5-VL)
BOS, EOS, IMAGE, PAD = 1, 2, 3, 4
VISION_START, VISION_END, VIDEO = 5, 6, 7
SPECIAL = ("<unk>", "<s>", "</s>", "<image>", "<pad>", "<v>", "</v>", "<video>")

# Language models, then vision towers, as in the config.json of the checkpoints.
TEXT: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
    "llava-med-7b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "qwen2.5-vl-7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [16, 24, 24],
        },
    },
    "tiny-qwen2.5-vl": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    },
}
VISION: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
    },
    "llava-med-7b": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "projection_dim": 768,
    },
    "tiny": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    "qwen2.5-vl-7b": {
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "depth": 32,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    "tiny-qwen2.5-vl": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "depth": 2,
        "num_heads": 2,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
}


def is_qwen(settings: Settings) -> bool:
    return "qwen" in settings.shape


def build_model(settings: Settings, device: torch.device) -> nn.Module:
    """The bare model on `device`; the same settings give the same weights per kind of device."""
    torch.manual_seed(settings.seed)
    previous_dtype = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[settings.dtype])
    try:
        with device:
            return _qwen(settings) if is_qwen(settings) else _llava(settings)
    finally:
        torch.set_default_dtype(previous_dtype)


def build_policy(settings: Settings, device: torch.device) -> Any:
    """The model with LoRA on the language layers, its adapters not zero."""
    shape = SHAPES[settings.shape]
    lora = LoraConfig(rank=shape.lora_rank, alpha=shape.lora_alpha)
    policy = prepare_policy(build_model(settings, device), ModelConfig(lora=lora))
    fill_adapters(policy, settings)
    return policy.train()


def fill_adapters(policy: nn.Module, settings: Settings) -> None:
    """Fill adapters alike, whoever created them: A as PEFT initialises it, B from N(0, .02)."""
    adapters = [(n, p) for n, p in policy.named_parameters() if ".lora_" in n and p.requires_grad]
    for number, (name, parameter) in enumerate(sorted(adapters)):
        generator = torch.Generator(parameter.device).manual_seed(
            settings.seed * 1_000_003 + number
        )
        values = torch.empty(parameter.shape, device=parameter.device)
        if ".lora_A." in name:
            bound = parameter.shape[1] ** -0.5
            values.uniform_(-bound, bound, generator=generator)
        else:
            values.normal_(0.0, 0.02, generator=generator)
        with torch.no_grad():
            parameter.copy_(values)


def counts(policy: Any) -> dict[str, int]:
    """Facts that every variant reports about itself."""
    trained = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    total = sum(p.numel() for p in policy.parameters())
    threads = torch.get_num_threads()
    return {"parameters": total, "trainable_parameters": trained, "threads": threads}


def image_processor(settings: Settings) -> Any:
    """The image processor of the model family, set to keep the size of the image."""
    from transformers import CLIPImageProcessor, Qwen2VLImageProcessor

    if is_qwen(settings):
        pixels = image_pixels(settings) ** 2
        return Qwen2VLImageProcessor(
            patch_size=PATCH, merge_size=MERGE, min_pixels=pixels, max_pixels=pixels
        )
    return CLIPImageProcessor(do_resize=False, do_center_crop=False)


def image_pixels(settings: Settings) -> int:
    """Pixels along one edge of the image."""
    return settings.image_side * PATCH * (MERGE if is_qwen(settings) else 1)


def _llava(settings: Settings) -> nn.Module:
    from transformers import (
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        MistralConfig,
    )

    text = MistralConfig(
        vocab_size=settings.vocabulary,
        max_position_embeddings=CONTEXT,
        sliding_window=None,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        tie_word_embeddings=False,
        **TEXT[settings.shape],
    )
    vision = CLIPVisionConfig(
        image_size=image_pixels(settings), patch_size=PATCH, **VISION[settings.shape]
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def _qwen(settings: Settings) -> nn.Module:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": settings.vocabulary,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "tie_word_embeddings": False,
        **TEXT[settings.shape],
    }
    vision = {"patch_size": PATCH, "spatial_merge_size": MERGE, **VISION[settings.shape]}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=False,
    )
    return Qwen2_5_VLForConditionalGeneration(config)
