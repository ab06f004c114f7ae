"""Random visual tools of every kind, tiny, with the processors of their published look-alikes."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertTokenizer,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    PreTrainedTokenizerFast,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    ViTImageProcessor,
)

WORDS = ["nodule", "opacity", "lung", "pleural", "effusion", "heart", "lesion", "mass", "liver"]


def build_tiny_localiser(kind: str, out: Path, seed: int = 0) -> Path:
    """A model directory with config, weights and processor."""
    torch.manual_seed(seed)
    model, processor = {"clipseg": _clipseg, "grounding-dino": _dino, "sam3": _sam3}[kind]()
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


def _clip_tokenizer() -> PreTrainedTokenizerFast:
    """Words between start and end; padded with the end, as CLIP's."""
    tokens = ["<|startoftext|>", "<|endoftext|>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", 0), ("<|endoftext|>", 1)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[0],
        eos_token=tokens[1],
        pad_token=tokens[1],
        unk_token=tokens[2],
        model_max_length=16,
    )


_CLIP_TEXT = {
    "vocab_size": 3 + len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


def _clipseg() -> tuple[CLIPSegForImageSegmentation, CLIPSegProcessor]:
    config = CLIPSegConfig(
        text_config=_CLIP_TEXT,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=32,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_intermediate_size=32,
    )
    images = ViTImageProcessor(size={"height": 64, "width": 64})
    return CLIPSegForImageSegmentation(config), CLIPSegProcessor(images, _clip_tokenizer())


def _dino() -> tuple[GroundingDinoForObjectDetection, GroundingDinoProcessor]:
    """With BERT's token ids of [CLS], [SEP], the full stop and the question mark."""
    vocabulary = {f"[unused{i}]": i for i in range(1100)}
    words = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    words |= {".": 1012, "?": 1029} | {word: 1040 + i for i, word in enumerate(WORDS)}
    vocabulary = {t: i for t, i in vocabulary.items() if i not in words.values()} | words
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "window_size": 7,
            "image_size": 64,
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
            "out_features": ["stage2", "stage3", "stage4"],
            "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "vocab_size": 1100,
        },
        d_model=32,
        encoder_layers=2,
        encoder_ffn_dim=32,
        decoder_layers=2,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=8,
        disable_custom_kernels=True,
        max_text_len=64,
    )
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    processor = GroundingDinoProcessor(images, BertTokenizer(vocab=vocabulary))
    return GroundingDinoForObjectDetection(config), processor


def _sam3() -> tuple[Sam3Model, Sam3Processor]:
    common = {"hidden_size": 32, "num_attention_heads": 4, "dropout": 0.0}
    layers = common | {"num_layers": 2, "intermediate_size": 64}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": 112,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": 56,
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config=_CLIP_TEXT | {"model_type": "clip_text_model", "projection_dim": 32},
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config=layers | {"num_queries": 6},
        mask_decoder_config=common,
    )
    images = Sam3ImageProcessor(size={"height": 112, "width": 112})
    return Sam3Model(config), Sam3Processor(images, _clip_tokenizer())
