"""Models on disk: finding them, what a run must know of them, and loading their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from medray.config import GeneratorConfig, ModelConfig
from medray.errors import ConfigError, ModelError
from medray.files import read_file
from medray.policy.architectures import ARCHITECTURES, Architecture, forest_obstacle, text_config
from medray.policy.model.headers import refuse_pointer
from medray.policy.model.skeleton import unfit
from medray.policy.model.view_size import Limits

SHIPPED = Path(__file__).parents[2]  # "phantom/base" is a directory of the package
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}

NEEDED = {
    "tokenizer": ("tokenizer.json", "tokenizer.model"),
    "image processor": ("processor_config.json", "preprocessor_config.json"),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a run must know about a model before it starts."""

    path: Path
    architecture: Architecture
    context: int  # tokens, image tokens included
    image_tokens: int  # of one ordinary image; 0 if it depends on the image's size
    image_token: int  # id of the placeholder
    vocabulary: int  # rows of the head
    forest_obstacle: str  # why pairs are not scored as trees; "" if they are
    limits: Limits  # on the pixels of an image, in place of its processor's own


def resolve_model_path(path: str) -> Path:
    """The directory with a config.json: as given, or among those shipped with medray."""
    for candidate in (Path(path), SHIPPED / path):
        if (candidate / "config.json").is_file():
            return candidate.resolve()
    raise ModelError(
        f"model.path = {path}",
        "no directory with a config.json",
        "give a Hugging Face model directory, or phantom/base for the shipped tiny model",
    )


def model_facts(config: ModelConfig) -> ModelFacts:
    """Read from config.json alone; ModelError if files are missing or it is not supported."""
    path = resolve_model_path(config.path)
    config_json = _read_config(path)
    if not any(path.glob("*.safetensors")):
        raise ModelError(str(path), "holds no *.safetensors", "medray does not unpickle models")
    for what, names in NEEDED.items():
        if not any((path / name).is_file() for name in names):
            raise ModelError(str(path), f"holds no {what} ({' or '.join(names)})", "add the files")
    if not _has_chat_template(path):
        raise ModelError(str(path), "has no chat template", "add chat_template.jinja")
    architecture = find_architecture(path, config_json)
    context, vocabulary, image_tokens, token, obstacle = _sizes(path, config_json, architecture)
    if config.max_length is not None:
        if config.max_length > context:
            raise ModelError(
                f"model.max_length = {config.max_length}",
                f"the model's context is {context} tokens",
                "lower it",
            )
        context = config.max_length
    pixels = {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
    limits = {name: value for name, value in pixels.items() if value is not None}
    return ModelFacts(
        path, architecture, context, image_tokens, token, vocabulary, obstacle, limits
    )


def answer_context(generator: GeneratorConfig, facts: ModelFacts) -> int:
    """Tokens of images, question and answer that a generator takes.

    Raises ConfigError if the model does not take so many, or a call does not hold one image.
    """
    context, calls = generator.max_model_len, generator.max_num_batched_tokens
    if context is not None and context > facts.context:
        why = f"the model's context is {facts.context} tokens, model.max_length included"
        raise ConfigError(f"generator.max_model_len = {context}", why, "lower it")
    if calls is not None and calls < facts.image_tokens:
        why = f"an image takes {facts.image_tokens} tokens, and is computed at one go"
        raise ConfigError(f"generator.max_num_batched_tokens = {calls}", why, "raise it")
    return context or facts.context


def reference_facts(config: ModelConfig) -> ModelFacts | None:
    """Facts of the reference model, if one is named; ModelError if it does not share the tokens."""
    if config.reference is None:
        return None
    own = model_facts(config)
    other = model_facts(config.model_copy(update={"path": config.reference}))
    where = f"model.reference = {config.reference}"
    remedy = "give a model with the policy's architecture, vocabulary and tokenizer"
    for what in ("vocabulary", "image_token"):
        mine, theirs = getattr(own, what), getattr(other, what)
        if mine != theirs:
            why = f"its {what.replace('_', ' ')} is {theirs}, the policy's is {mine}"
            raise ModelError(where, why, remedy)
    if own.architecture is not other.architecture:
        raise ModelError(where, f"is a {other.architecture.name}", remedy)
    return other


def find_architecture(path: Path, config_json: Mapping[str, Any]) -> Architecture:
    """By the class named in config.json; ModelError that lists the supported ones."""
    name = (config_json.get("architectures") or ["unknown"])[0]
    if name not in ARCHITECTURES:
        raise ModelError(
            f"model.path = {path}",
            f"architecture {name} is not supported",
            f"use one in the transformers layout: {', '.join(ARCHITECTURES)}",
        )
    return ARCHITECTURES[name]


def read_architecture(path: Path) -> Architecture:
    """The architecture of a model directory."""
    return find_architecture(path, _read_config(path))


def image_token_of(path: Path) -> int:
    """The id that stands for a part of an image in an expanded prompt."""
    config_json = _read_config(path)
    return _sizes(path, config_json, find_architecture(path, config_json))[3]


def _read_config(path: Path) -> dict[str, Any]:
    """config.json of a model directory; ModelError if it is none."""
    refuse_pointer(path / "config.json")
    try:
        config = json.loads(read_file(path / "config.json"))
    except (OSError, ValueError) as error:
        raise ModelError(str(path / "config.json"), f"unreadable ({error})", "fix it") from None
    if not isinstance(config, dict) or not isinstance(config.get("architectures") or [], list):
        raise ModelError(str(path / "config.json"), "not a model configuration", "fix it")
    return config


def _has_chat_template(path: Path) -> bool:
    """In a separate file, or as a key of the tokenizer's or the processor's configuration."""
    if any((path / f"chat_template.{kind}").is_file() for kind in ("jinja", "json")):
        return True
    files = [path / f"{part}_config.json" for part in ("tokenizer", "processor")]
    return any('"chat_template"' in read_file(f) for f in files if f.is_file())


def _sizes(
    path: Path, config_json: dict[str, Any], architecture: Architecture
) -> tuple[int, int, int, int, str]:
    """Context length, vocabulary size, tokens of one image, their id, obstacle to trees."""
    try:
        token: Any = config_json.get("image_token_id", config_json.get("image_token_index"))
        if token is None:
            raise ValueError("it names no image token: image_token_id or image_token_index")
        text = text_config(config_json)
        context = int(text.get("max_position_embeddings", 2048))
        tokens, obstacle = architecture.image_tokens(config_json), forest_obstacle(config_json)
        return context, int(text["vocab_size"]), tokens, int(token), obstacle
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        why = f"its text_config or vision_config is wrong ({error})"
        raise ModelError(str(path / "config.json"), why, "fix it") from None


def load_model(path: Path, dtype: str) -> nn.Module:
    """The bare pretrained model in `dtype`; ModelError unless every weight is accounted for."""
    from transformers import AutoModelForImageTextToText

    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=DTYPES[dtype],
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        why = " ".join(str(error).split())[:300]
        raise ModelError(str(path), f"cannot be loaded ({why})", "check its files") from None
    if problem := unfit(info):
        raise ModelError(str(path), f"weights do not fit config.json: {problem}", "check both")
    return model
