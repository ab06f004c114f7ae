"""Models from disk: where they are, what they can hold, and which weights train."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medray.config import ModelConfig
from medray.errors import ModelError

SHIPPED = Path(__file__).parents[1]  # "phantom/base" is a directory of the package
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}

# Linear layers by group, for LoRA; and the modules a group owns, for full fine-tuning.
LORA_TARGETS = {
    "language": r"language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
    "projector": r"multi_modal_projector\.linear_[12]",
    "vision": r"vision_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
}
GROUP_MARKS = {
    "language": ("language_model.", "lm_head."),
    "projector": ("multi_modal_projector.",),
    "vision": ("vision_tower.",),
}
NEEDED = {
    "tokenizer": ("tokenizer.json", "tokenizer.model"),
    "image processor": ("processor_config.json", "preprocessor_config.json"),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a run must know of a model before it starts."""

    path: Path
    architecture: str
    context: int  # tokens, image tokens included
    image_tokens: int  # of one ordinary image; 0 where it depends on the image's size


def resolve_model_path(path: str) -> Path:
    """A directory with a config.json: as given, or among those shipped with medray."""
    for candidate in (Path(path), SHIPPED / path):
        if (candidate / "config.json").is_file():
            return candidate.resolve()
    raise ModelError(
        f"model.path = {path}",
        "no directory with a config.json",
        "give a Hugging Face model directory, or phantom/base for the shipped tiny model",
    )


def model_facts(config: ModelConfig) -> ModelFacts:
    """Read from config.json alone; ModelError where the architecture is not supported."""
    path = resolve_model_path(config.path)
    tree = _read_config(path)
    if not any(path.glob("*.safetensors")):
        raise ModelError(str(path), "holds no *.safetensors", "medray does not unpickle models")
    for what, names in NEEDED.items():
        if not any((path / name).is_file() for name in names):
            raise ModelError(str(path), f"holds no {what} ({' or '.join(names)})", "add the files")
    if not _has_chat_template(path):
        raise ModelError(str(path), "has no chat template", "add chat_template.jinja")
    architecture = (tree.get("architectures") or ["unknown"])[0]
    if architecture != "LlavaForConditionalGeneration":
        raise ModelError(
            f"model.path = {path}",
            f"architecture {architecture} is not supported",
            "use a LLaVA in the transformers layout (LlavaForConditionalGeneration)",
        )
    context, image_tokens = _sizes(path, tree)
    if config.max_length is not None:
        if config.max_length > context:
            raise ModelError(
                f"model.max_length = {config.max_length}",
                f"the model holds {context} tokens",
                "lower it",
            )
        context = config.max_length
    return ModelFacts(path, architecture, context, image_tokens)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(str(path / "config.json"), f"unreadable ({error})", "mend it") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("architectures") or [], list):
        raise ModelError(str(path / "config.json"), "not the configuration of a model", "mend it")
    return tree


def _has_chat_template(path: Path) -> bool:
    """In a file of its own, or as a key of the tokenizer's or the processor's configuration."""
    if any((path / f"chat_template.{kind}").is_file() for kind in ("jinja", "json")):
        return True
    files = [path / f"{part}_config.json" for part in ("tokenizer", "processor")]
    return any('"chat_template"' in f.read_text(encoding="utf-8") for f in files if f.is_file())


def _sizes(path: Path, tree: dict[str, Any]) -> tuple[int, int]:
    """Tokens the model holds, and those of one image."""
    try:
        vision = tree["vision_config"]
        side = int(vision["image_size"]) // int(vision["patch_size"])
        return int(tree["text_config"].get("max_position_embeddings", 2048)), side**2
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        why = f"its text_config or vision_config is wrong ({error})"
        raise ModelError(str(path / "config.json"), why, "mend it") from None


def load_model(path: Path, dtype: str) -> nn.Module:
    """The bare pretrained model in `dtype`, every weight accounted for (else ModelError)."""
    from transformers import AutoModelForImageTextToText

    model, info = AutoModelForImageTextToText.from_pretrained(
        path, dtype=DTYPES[dtype], local_files_only=True, output_loading_info=True
    )
    lost = sorted(info["missing_keys"]) + sorted(info["unexpected_keys"])
    if lost or info["mismatched_keys"]:
        raise ModelError(str(path), f"weights do not fit: {lost[:3]}", "check the checkpoint")
    return model


def prepare_policy(model: nn.Module, config: ModelConfig) -> nn.Module:
    """Freeze what does not train; wrap with LoRA where configured (adapter starts at zero)."""
    model.requires_grad_(False)
    if config.lora is None:
        marks = tuple(mark for group in config.trainable for mark in GROUP_MARKS[group])
        trained = [p for n, p in model.named_parameters() if any(m in n for m in marks)]
        for parameter in trained:
            parameter.requires_grad_(True)
        if not trained:
            raise ModelError(
                f"model.trainable = {config.trainable}", "matches no weight", "change it"
            )
        return model
    from peft import LoraConfig, get_peft_model

    targets = "|".join(f"(.*{LORA_TARGETS[group]})" for group in config.lora.targets)
    lora = LoraConfig(
        r=config.lora.rank, lora_alpha=config.lora.alpha, lora_dropout=config.lora.dropout,
        use_rslora=config.lora.rank_stabilised, target_modules=targets,
    )  # fmt: skip
    try:
        return get_peft_model(model, lora, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ModelError(
            f"model.lora.targets = {config.lora.targets}",
            f"matches no layer ({error})",
            "change it",
        ) from None


def base_model(policy: nn.Module) -> nn.Module:
    """The transformers model inside an optional PEFT wrapper."""
    inner = getattr(policy, "base_model", None)
    return inner.model if hasattr(policy, "peft_config") and inner is not None else policy
