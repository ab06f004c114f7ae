"""A language model's directory: whether an engine can serve it, and which model it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from medray.errors import ConfigError
from medray.files import read_file, sha256_of

CONTEXT = 8192  # tokens of a prompt and its reply, at most: a longer context only costs memory
_TEMPLATES = ("chat_template.jinja", "chat_template.json")


def check_model(directory: str, key: str) -> None:
    """Raises ConfigError unless the directory, the value of `key`, holds a chat model."""
    path, what = Path(directory), f"{key} = {directory}"
    layout = "give a Hugging Face directory: config.json, tokenizer, *.safetensors"
    if not path.is_dir():
        raise ConfigError(what, "no such directory", layout)
    if any(path.glob("*.gguf")) and not any(path.glob("*.safetensors")):
        raise ConfigError(
            what,
            "holds weights as GGUF, which vLLM does not read",
            "convert them to safetensors, or serve them elsewhere and give editor.url",
        )
    for name in ("config.json", "tokenizer_config.json"):
        if not _json(path / name):
            raise ConfigError(what, f"has no readable {name}", layout)
    if not any(path.glob("*.safetensors")):
        raise ConfigError(what, "has no *.safetensors", layout)
    templates = [_json(path / "tokenizer_config.json").get("chat_template")]
    if not any(templates) and not any((path / name).exists() for name in _TEMPLATES):
        raise ConfigError(
            what, "its tokenizer has no chat template", "give an instruction-tuned model"
        )


def context_of(directory: str) -> int:
    """Tokens that an engine has to have room for: the model's own context, within CONTEXT."""
    config = _json(Path(directory) / "config.json")
    text = config.get("text_config")
    sizes = [c.get("max_position_embeddings") for c in (config, text) if isinstance(c, dict)]
    return min([CONTEXT, *(size for size in sizes if isinstance(size, int) and size > 0)])


def identity_of(directory: str) -> str:
    """The directory's name and a digest of its files, such as "judge@5f0c1b2a9e77".

    Reads every byte. Raises OSError.
    """
    path = Path(directory)
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            digest.update(f"{file.name}\0{sha256_of(file)}\n".encode())
    return f"{path.resolve().name}@{digest.hexdigest()[:12]}"


def _json(file: Path) -> dict[str, Any]:
    """The object in a file; empty if it cannot be read."""
    try:
        content = json.loads(read_file(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
