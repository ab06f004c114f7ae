"""A LoRA adapter on disk: what it is, and whether it fits a model and `model.lora`.

PEFT has dozens of options. Training continues any plain LoRA; a generator and an export know its
rank, alpha and scaling only. So an adapter with any other option set is refused, not read wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from medray.config import LoraConfig
from medray.errors import ModelError
from medray.files import read_file
from medray.policy.model.headers import TensorHeader, file_headers, refuse_pointer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MERGE = "merge it into its model with PEFT, and give the merged model as model.path"
DEFAULTS = {"r": 8, "lora_alpha": 8, "use_rslora": False}  # PEFT's, for what is not written
# Options that say where an adapter came from or which layers it has (its tensors say that, too).
HARMLESS = {
    *("peft_type", "task_type", "base_model_name_or_path", "revision", "auto_mapping"),
    *("peft_version", "inference_mode", "lora_dropout", "r", "lora_alpha", "use_rslora"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("init_lora_weights", "megatron_core", "runtime_config", "ensure_weight_tying"),
}
# Initialisations that take a part of the base model's weights away.
CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "milora")


def check_adapter(path: Path, lora: LoraConfig | None = None) -> dict[str, TensorHeader]:
    """The adapter's tensors; ModelError unless it is plain LoRA, and of the kind that `lora` says.

    Reads its configuration and the header of its weights.
    """
    saved = read_adapter_config(path)
    where = f"model.adapter = {path}"
    _refuse_options(where, saved)
    headers = file_headers(path / WEIGHTS)
    if foreign := sorted(name for name in headers if ".lora_" not in name):
        raise ModelError(where, f"holds {foreign[0]}, which is no LoRA weight", MERGE)
    if not headers:
        raise ModelError(where, f"its {WEIGHTS} holds no tensor", "give a complete adapter")
    _require_rank(where, headers, saved["r"])
    if lora is None:
        return headers
    own = {"r": lora.rank, "lora_alpha": lora.alpha, "use_rslora": lora.rank_stabilised}
    for key, value in own.items():
        if saved.get(key, False) != value:
            raise ModelError(
                where, f"has {key} {saved.get(key)}, model.lora says {value}", "make them equal"
            )
    return headers


def read_adapter_config(path: Path) -> dict[str, Any]:
    """adapter_config.json; ModelError if the directory holds no adapter that medray can read."""
    where = f"model.adapter = {path}"
    file = path / CONFIG
    if not file.is_file() or not (path / WEIGHTS).is_file():
        raise ModelError(where, f"holds no {CONFIG} and {WEIGHTS}", "give a PEFT LoRA directory")
    refuse_pointer(file)
    try:
        saved = json.loads(read_file(file))
    except (OSError, ValueError) as error:
        raise ModelError(str(file), f"unreadable ({error})", "fix it") from None
    if not isinstance(saved, dict):
        raise ModelError(str(file), "is no configuration of an adapter", "fix it")
    saved = DEFAULTS | saved
    for key, kind in (("r", int), ("lora_alpha", (int, float)), ("use_rslora", bool)):
        if not isinstance(saved[key], kind):
            raise ModelError(str(file), f"{key} is {json.dumps(saved[key])}", "fix it")
    return saved


def require_fit(path: Path, headers: Mapping[str, TensorHeader], model: nn.Module) -> None:
    """ModelError unless every tensor of an adapter belongs to a layer of `model`.

    `model`: without a PEFT wrapper; on any device.
    """
    where, other = f"model.adapter = {path}", "give an adapter of this model"
    modules = dict(model.named_modules())
    for name, header in sorted(headers.items()):
        layer, _, part = name.removeprefix("base_model.model.").partition(".lora_")
        if layer not in modules:
            raise ModelError(where, f"does not fit the model: it has no layer {layer}", other)
        module = modules[layer]
        if not isinstance(module, nn.Linear):
            why = f"{layer} is a {type(module).__name__}; medray adapts linear layers only"
            raise ModelError(where, why, MERGE)
        side = module.in_features if part.startswith("A.") else module.out_features
        if side not in header.shape:
            why = f"{layer} is {module.in_features} → {module.out_features} wide, "
            why += f"its lora_{part[0]} is {list(header.shape)}"
            raise ModelError(where, f"does not fit the model: {why}", other)


def _require_rank(where: str, headers: Mapping[str, TensorHeader], rank: int) -> None:
    """ModelError unless both matrices of every layer are there, and of rank `rank`."""
    swapped = {".lora_A.": ".lora_B.", ".lora_B.": ".lora_A."}
    for name, header in sorted(headers.items()):
        part = next((part for part in swapped if part in name), None)
        if part is None:
            raise ModelError(where, f"holds {name}, which is not of plain LoRA", MERGE)
        if name.replace(part, swapped[part]) not in headers:
            raise ModelError(
                where, f"holds {name} without its other half", "give a complete adapter"
            )
        own = header.shape[0 if part == ".lora_A." else -1] if header.shape else 0
        if own != rank:
            raise ModelError(
                where, f"says r {rank}, but {name} is of rank {own}", "give a complete adapter"
            )


def _refuse_options(where: str, saved: Mapping[str, Any]) -> None:
    kind = saved.get("peft_type")
    if kind != "LORA":
        raise ModelError(where, f"is of the kind {kind}, not LORA", MERGE)
    start = str(saved.get("init_lora_weights", True)).lower()
    if start.startswith(CHANGE_THE_BASE):
        why = f"began with init_lora_weights {start}, which changes the weights of its model"
        raise ModelError(where, why, "convert it to plain LoRA as PEFT documents, or merge it")
    for key, value in _unusual(saved):
        shown = json.dumps(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "…"
        raise ModelError(where, f"has {key} {shown}, which medray does not carry on", MERGE)


def _unusual(saved: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Options that change what an adapter does, and are not as in plain LoRA."""
    from peft import LoraConfig as PeftLora

    plain = PeftLora().to_dict()
    for key, value in sorted(saved.items()):
        empty = value in (None, False, "none", {}, [])
        if key not in HARMLESS and not empty and value != plain.get(key):
            yield key, value
