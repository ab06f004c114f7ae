"""A trained policy as files that others read: a whole Hugging Face model, or a PEFT adapter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError, UserError
from medray.files import is_taken, new_folder
from medray.policy.export.weight_update import Mode, export_items
from medray.policy.model.loading import load_model, model_facts
from medray.policy.model.tuning import ADAPTER, prepare_policy

OF_THE_BASE = ("config.json", "README.md")  # not true of the trained model
WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".index.json")


def write_merged(
    config: ModelConfig,
    dtype: str,
    mode: Mode,
    trained: Mapping[str, Tensor],
    out: Path,
    told: Mapping[str, Any],
) -> None:
    """The base model with what was trained in it, and the base's other files as they are.

    `trained`: the tensors that a generator receives, in that mode; adapters are merged as for a
    generator (W + s·B·A in float32, rounded once). `told` becomes medray.json.
    """
    _require_new(out)
    facts = model_facts(config)
    model = load_model(facts.path, dtype)
    weights = dict(trained)
    if mode == "adapter":
        weights = _merge(model, config, trained)
        model = load_model(facts.path, dtype)
    _load(model, weights)
    with _published(out, told) as folder:
        model.save_pretrained(folder)
        _copy_rest(facts.path, folder)


def write_adapter(
    config: ModelConfig,
    mode: Mode,
    trained: Mapping[str, Tensor],
    out: Path,
    told: Mapping[str, Any],
) -> None:
    """The adapter alone, as PEFT reads it; the base model is not touched."""
    if mode != "adapter" or config.lora is None:
        raise UserError(
            "--adapter",
            "this run's checkpoint holds whole weights (loop.sync: full)",
            "leave --adapter out, or train with loop.sync=adapter",
        )
    _require_new(out)
    from safetensors.torch import save_file

    described = _describe(config.lora, config.path, trained)
    with _published(out, told) as folder:
        save_file(dict(trained), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(described, indent=1) + "\n")


def _merge(
    model: nn.Module, config: ModelConfig, trained: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Every weight that the adapter changes, merged, under the model's own names."""
    policy = prepare_policy(model, config)
    mark = f".{ADAPTER}."
    own = {n: p for n, p in policy.named_parameters() if ".lora_" in n and mark in n}
    if {name.replace(mark, ".") for name in own} != set(trained):
        raise ModelError(str(config.path), "the adapter is of another model", "check model.path")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(trained[name.replace(mark, ".")])
    return {item.name: item.build() for item in export_items(policy, "full")}


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = dict(model.named_parameters())
    if strange := sorted(set(weights) - set(own)):
        raise ModelError(strange[0], "the base model has no such weight", "check model.path")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)


def _describe(lora: LoraConfig, base: str, trained: Mapping[str, Tensor]) -> dict[str, Any]:
    """PEFT's adapter_config.json, with the layers by their full names."""
    targets = sorted(
        {name.removeprefix("base_model.model.").split(".lora_")[0] for name in trained}
    )
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rank_stabilised,
        "bias": "none",
        "target_modules": targets,
        "inference_mode": True,
    }


def _copy_rest(source: Path, folder: Path) -> None:
    """Tokenizer, processor, chat template, generation settings, licence: what is not weights."""
    for path in source.iterdir():
        written_anew = path.name.endswith(WEIGHT_FILES) or path.name in OF_THE_BASE
        if path.is_file() and not written_anew:
            shutil.copyfile(path, folder / path.name)


def _require_new(out: Path) -> None:
    if is_taken(out):
        raise UserError(f"-o {out}", "already exists and is not empty", "choose a new folder")


@contextmanager
def _published(out: Path, told: Mapping[str, Any]) -> Iterator[Path]:
    """The folder to write to; it becomes `out`, with `told` in it, readable for everyone."""
    try:
        with new_folder(out) as folder:
            yield folder
            (folder / "medray.json").write_text(json.dumps(told, indent=1) + "\n")
            for path in folder.iterdir():
                path.chmod(0o644)
    except OSError as error:
        raise UserError(f"-o {out}", f"cannot be written ({error})", "choose another") from None
