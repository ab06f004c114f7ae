"""Tiny look-alikes of LLaVA-Med v1.5 and HuatuoGPT-Vision-7B as their authors released them.

Modules are assembled as in the original code (llava_arch.py, clip_encoder.py), so the names of
the weights follow from that structure; configurations and tokenizer files are written by hand.
`original_logits` is the original forward pass, from `hidden_states[-2]` to `lm_head`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

IMAGE_TOKEN_INDEX = -200  # llava/constants.py
INDEX = "model.safetensors.index.json"
IMAGE_SIZE, PATCH = 32, 8
PATCHES = (IMAGE_SIZE // PATCH) ** 2
CORPUS = (
    "There is a small nodule in the left upper zone. [INST] Is it? [/INST] Yes.",
    "Large right-sided pleural effusion. The heart is enlarged.\n",
    "Is there a cavity on the right side? No focal lesion is seen. <|user|> <|assistant|>",
)
CLIP = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "num_channels": 3,
    "projection_dim": 16,
}
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
PREPROCESSOR = {
    "crop_size": IMAGE_SIZE,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": MEAN,
    "image_std": STD,
    "resample": 3,
    "size": IMAGE_SIZE,
}
# Keys of a LLaVA's config.json in addition to the language model's own.
MULTIMODAL = {
    "freeze_mm_mlp_adapter": False,
    "image_aspect_ratio": "pad",
    "image_grid_pinpoints": None,
    "mm_hidden_size": CLIP["hidden_size"],
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "use_mm_proj": True,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "tokenizer_model_max_length": 2048,
    "tokenizer_padding_side": "right",
    "tune_mm_mlp_adapter": False,
    "torch_dtype": "float32",
    "transformers_version": "4.36.2",
}
DECODER = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "initializer_range": 0.02,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "attention_dropout": 0.0,
    "use_cache": True,
}


@dataclass
class Original:
    """One release: its path, its model, and its own encoding of a question."""

    path: Path
    model: nn.Module
    tower: CLIPVisionModel
    rows: int
    prompt: Callable[[str], list[int]]


class _Tower(nn.Module):
    """CLIPVisionTower: its attribute `vision_tower` is the CLIPVisionModel of its time."""

    def __init__(self, clip: CLIPVisionModel) -> None:
        super().__init__()
        self.vision_tower = nn.Module()
        self.vision_tower.vision_model = clip


def build_llava_med(path: Path, *, inside: bool = True, seed: int = 0, **config: Any) -> Original:
    """Mistral and SentencePiece, a token for every row. The tower is given by its name only."""
    path.mkdir(parents=True)
    pieces = _sentencepiece(path)
    rows = pieces.get_piece_size()
    text = {"vocab_size": rows, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2}
    text |= DECODER | {"sliding_window": None}
    built = _build(MistralForCausalLM(_config(MistralConfig, text)), seed)
    named = {"mm_vision_tower": "openai/clip-vit-tiny", "model_type": "llava_mistral"}
    _json(
        path / "config.json",
        text
        | MULTIMODAL
        | named
        | {"architectures": ["LlavaMistralForCausalLM"], "unfreeze_mm_vision_tower": True}
        | config,
    )
    weights = _names(built, inside)
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(16)
    _save(weights, path)

    def prompt(question: str) -> list[int]:
        # conv_mistral_instruct and tokenizer_image_token: each part separately, after one <s>.
        before, after = f"[INST] <image>\n{question} [/INST]".split("<image>")
        return [1, *pieces.encode(before), IMAGE_TOKEN_INDEX, *pieces.encode(after)]

    return Original(path, built, built.model.vision_tower.vision_tower.vision_model, rows, prompt)


def build_huatuo(
    path: Path, *, inside: bool = False, free: int = 9, seed: int = 1, **config: Any
) -> Original:
    """Qwen2 and byte-level BPE, `free` rows without a token; a CLIP directory inside."""
    path.mkdir(parents=True)
    encode, size = _qwen_tokenizer(path)
    rows = size + free
    text = {"vocab_size": rows, "rms_norm_eps": 1e-6, "bos_token_id": size - 3}
    text |= {"eos_token_id": size - 3, "max_window_layers": 2, "sliding_window": 131072}
    text |= DECODER | {"use_sliding_window": False}
    built = _build(Qwen2ForCausalLM(_config(Qwen2Config, text)), seed)
    named = {"mm_vision_tower": "vit/clip_vit_large_patch14_336", "model_type": "llava_qwen2"}
    _json(
        path / "config.json",
        text
        | MULTIMODAL
        | named
        | {"architectures": ["LlavaQwen2ForCausalLM"], "image_aspect_ratio": "square"}
        | config,
    )
    _save(_names(built, inside), path)
    tower = built.model.vision_tower.vision_tower.vision_model
    # If the weights include the tower, the CLIP directory holds a different one.
    other = (
        tower if not inside else _randomised(CLIPVisionModel(_config(CLIPVisionConfig, CLIP)), 77)
    )
    write_clip(path / "vit/clip_vit_large_patch14_336", other)

    def prompt(question: str) -> list[int]:
        # HuatuoChatbot.preprocess_huatuo: each part separately, without a start token.
        before, after = f"<|user|>\n<image>\n{question}\n<|assistant|>\n".split("<image>")
        return [*encode(before), IMAGE_TOKEN_INDEX, *encode(after)]

    return Original(path, built, tower, rows, prompt)


def write_clip(path: Path, tower: CLIPVisionModel) -> Path:
    """A CLIPModel as saved in 2021: both halves, buffers, sizes as plain numbers."""
    path.mkdir(parents=True)
    halves = {"text_config": {"hidden_size": 16}, "vision_config": CLIP}
    _json(path / "config.json", {"architectures": ["CLIPModel"], "model_type": "clip"} | halves)
    _json(path / "preprocessor_config.json", PREPROCESSOR)
    weights = {f"vision_model.{name}": w for name, w in tower.state_dict().items()}
    for half in ("text", "vision"):
        weights[f"{half}_model.embeddings.position_ids"] = torch.arange(17)[None]
    weights["text_model.final_layer_norm.weight"] = torch.ones(16)
    weights |= {"logit_scale": torch.tensor(2.6), "text_projection.weight": torch.ones(16, 16)}
    weights["visual_projection.weight"] = torch.ones(16, CLIP["hidden_size"])
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


@torch.no_grad()
def original_logits(original: Original, ids: Sequence[int], pixels: np.ndarray) -> Tensor:
    """prepare_inputs_labels_for_multimodal and the decoder: logits [L, rows], `pixels` [3, h, w].

    `ids` contains IMAGE_TOKEN_INDEX once; the features replace it.
    """
    outputs = original.tower(torch.from_numpy(pixels)[None], output_hidden_states=True)
    features = outputs.hidden_states[-2][:, 1:]
    first, _, second = original.model.model.mm_projector
    features = nn.functional.linear(features, first.weight, first.bias)
    features = 0.5 * features * (1 + torch.erf(features / 2**0.5))
    features = nn.functional.linear(features, second.weight, second.bias)[0]
    start = list(ids).index(IMAGE_TOKEN_INDEX)
    embedded = original.model.model.embed_tokens.weight
    before, after = embedded[list(ids[:start])], embedded[list(ids[start + 1 :])]
    return original.model(inputs_embeds=torch.cat([before, features, after])[None]).logits[0]


def change(path: Path, **values: Any) -> None:
    """Set keys of a config.json; `...` removes one."""
    file = path / "config.json"
    tree = json.loads(file.read_text()) | values
    _json(file, {key: value for key, value in tree.items() if value is not ...})


def rewrite(path: Path, edit: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change the weights of a checkpoint: `edit` receives and returns all of them."""
    files = sorted(path.glob("*.safetensors"))
    content = edit({n: w for file in files for n, w in load_file(file).items()})
    for file in [*files, path / INDEX]:
        file.unlink(missing_ok=True)
    save_file(content, path / "model.safetensors", {"format": "pt"})


def _build(decoder: Any, seed: int) -> Any:
    """LlavaMetaModel: the projector and the tower are attributes of the decoder's `model`."""
    hidden = decoder.config.hidden_size
    decoder.model.mm_projector = nn.Sequential(
        nn.Linear(CLIP["hidden_size"], hidden), nn.GELU(), nn.Linear(hidden, hidden)
    )
    decoder.model.vision_tower = _Tower(CLIPVisionModel(_config(CLIPVisionConfig, CLIP)))
    return _randomised(decoder, seed)


def _randomised(model: Any, seed: int) -> Any:
    """Redraw every weight, norms around one, so that a missing or swapped one is noticed."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, weight in model.named_parameters():
            scale = 0.3 if weight.dim() == 1 else weight[0].numel() ** -0.5
            weight.copy_(scale * torch.randn(weight.shape))
            if "norm" in name and name.endswith("weight"):
                weight += 1
    return model.float().eval()


def _config(kind: Any, tree: dict[str, Any]) -> Any:
    return kind(**tree, attn_implementation="eager")


def _names(model: nn.Module, inside: bool) -> dict[str, Tensor]:
    weights = {name: w.clone() for name, w in model.state_dict().items()}
    if not inside:
        return {name: w for name, w in weights.items() if "vision_tower" not in name}
    position_ids = "model.vision_tower.vision_tower.vision_model.embeddings.position_ids"
    return weights | {position_ids: torch.arange(PATCHES + 1)[None]}


def _save(weights: dict[str, Tensor], path: Path) -> None:
    """Two files and their index, as transformers saved them in 2023."""
    names, index = list(weights), {}
    half = len(names) // 2
    for number, part in enumerate((names[:half], names[half:]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({n: weights[n].contiguous() for n in part}, path / file, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    size = sum(w.numel() * w.element_size() for w in weights.values())
    tree = {"metadata": {"total_size": size}, "weight_map": index}
    _json(path / INDEX, tree)


def _sentencepiece(path: Path) -> sentencepiece.SentencePieceProcessor:
    """A real tokenizer.model with byte pieces at 3 to 258, like Llama's and Mistral's."""
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_writer=buffer,
        model_type="bpe",
        vocab_size=352,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    (path / "tokenizer.model").write_bytes(buffer.getvalue())
    _json(
        path / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<unk>",
            "legacy": False,
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
            "tokenizer_class": "LlamaTokenizer",
        },
    )
    return sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())


def _qwen_tokenizer(path: Path) -> tuple[Callable[[str], list[int]], int]:
    """Write vocab.json, merges.txt and three added tokens; returns the encoder and the size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    _json(path / "vocab.json", model["vocab"])
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    base, added = len(model["vocab"]), ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    decoder = {str(base + i): {"content": t, "special": True} | flags for i, t in enumerate(added)}
    _json(
        path / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": decoder,
            "bos_token": None,
            "additional_special_tokens": list(added[1:]),
            "eos_token": added[0],
            "pad_token": added[0],
            "errors": "replace",
            "model_max_length": 32768,
            "split_special_tokens": False,
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )
    return (lambda text: tokenizer.encode(text).ids), base + len(added)


def _json(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
