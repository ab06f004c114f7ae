"""A trained policy as files for other tools: a full Hugging Face model, or a PEFT adapter."""

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
from medray.policy.export.weight_update import ExportItem, Mode, export_items
from medray.policy.model.loading import load_model, model_facts
from medray.policy.model.tuning import ADAPTER, prepare_policy

BASE_ONLY = ("config.json", "README.md")  # these do not describe the trained model
WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".index.json")


def write_merged(
    config: ModelConfig,
    dtype: str,
    mode: Mode,
    trained: Mapping[str, Tensor],
    out: Path,
    metadata: Mapping[str, Any],
) -> None:
    """Write the base model with the trained weights in it, and the base's other files unchanged.

    `trained`: the tensors that a generator receives, in that mode; adapters are merged as for a
    generator (W + s·B·A in float32, rounded once). `metadata` becomes medray.json.
    """
    _require_new(out)
    facts = model_facts(config)
    model = load_model(facts.path, dtype)
    weights = dict(trained)
    if mode == "adapter":
        weights = _merge(model, config, trained)
        model = load_model(facts.path, dtype)
    _load(model, weights)
    with _published(out, metadata) as folder:
        model.save_pretrained(folder)
        _copy_rest(facts.path, folder)


def write_adapter(
    config: ModelConfig, trained: Mapping[str, Tensor], out: Path, metadata: Mapping[str, Any]
) -> None:
    """Write only the adapter, in PEFT's format; the base model is not touched."""
    if config.lora is None:
        raise UserError(
            "--adapter", "this run trained full weights (model.lora: null)", "leave --adapter out"
        )
    _require_new(out)
    from safetensors.torch import save_file

    adapter_config = _adapter_config(config.lora, config.path, trained)
    with _published(out, metadata) as folder:
        save_file(dict(trained), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(adapter_config, indent=1) + "\n")


def _merge(
    model: nn.Module, config: ModelConfig, trained: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Every weight that the adapter changes, merged, under the model's own names."""
    return {item.name: item.build() for item in merged_items(model, config, trained)}


def merged_items(
    model: nn.Module, config: ModelConfig, trained: Mapping[str, Tensor]
) -> list[ExportItem]:
    """The full update of a policy whose adapter has the tensors `trained`."""
    policy = prepare_policy(model, config)
    mark = f".{ADAPTER}."
    adapter = {n: p for n, p in policy.named_parameters() if ".lora_" in n and mark in n}
    if {name.replace(mark, ".") for name in adapter} != set(trained):
        raise ModelError(str(config.path), "the adapter is of another model", "check model.path")
    with torch.no_grad():
        for name, parameter in adapter.items():
            parameter.copy_(trained[name.replace(mark, ".")])
    return export_items(policy, "full")


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    if unknown := sorted(set(weights) - set(parameters)):
        raise ModelError(unknown[0], "the base model has no such weight", "check model.path")
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(tensor)


def _adapter_config(lora: LoraConfig, base: str, trained: Mapping[str, Tensor]) -> dict[str, Any]:
    """PEFT's adapter_config.json, with the full names of the layers."""
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
    """Copy what is not weights: tokenizer, processor, chat template, generation config, licence."""
    for path in source.iterdir():
        rewritten = path.name.endswith(WEIGHT_FILES) or path.name in BASE_ONLY
        if path.is_file() and not rewritten:
            shutil.copyfile(path, folder / path.name)


def _require_new(out: Path) -> None:
    if is_taken(out):
        raise UserError(f"-o {out}", "already exists and is not empty", "choose a new folder")


@contextmanager
def _published(out: Path, metadata: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to write to; it becomes `out`, with `metadata` in it, readable by everyone."""
    try:
        with new_folder(out) as folder:
            yield folder
            (folder / "medray.json").write_text(json.dumps(metadata, indent=1) + "\n")
            for path in folder.iterdir():
                path.chmod(0o644)
    except OSError as error:
        raise UserError(f"-o {out}", f"cannot be written ({error})", "choose another") from None
