"""Which weights of a model train, and what the reference is."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.policy.architectures import ARCHITECTURES, Architecture
from medray.policy.model.adapter import check_adapter, require_fit

ADAPTER = "default"  # the adapter that trains
STARTED = "started"  # a frozen copy of the adapter that training started from


def prepare_policy(model: nn.Module, config: ModelConfig) -> nn.Module:
    """Freeze what does not train; wrap with LoRA if configured.

    A new adapter starts at zero; `config.adapter` continues one, and keeps a frozen copy of it.
    """
    architecture = ARCHITECTURES[type(model).__name__]
    model.requires_grad_(False)
    if config.lora is None:
        return _unfreeze(model, config, architecture)
    if config.adapter is not None:
        return _continue_adapter(model, config.lora, Path(config.adapter))
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    require_targets(model, config.lora, architecture)
    targets = "|".join(f"(.*{architecture.lora_targets[group]})" for group in config.lora.targets)
    lora = PeftLora(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        use_rslora=config.lora.rank_stabilised,
        target_modules=targets,
    )
    return get_peft_model(model, lora, autocast_adapter_dtype=False)


def require_targets(model: nn.Module, lora: LoraConfig, architecture: Architecture) -> None:
    """ModelError unless every group of `lora.targets` has a linear layer that LoRA can adapt.

    PEFT refuses only if there is none in all of them together.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for group in lora.targets:
        pattern = architecture.lora_targets.get(group)
        if pattern is None or not any(re.fullmatch(f".*{pattern}", name) for name in linear):
            why = f"matches no layer: the {group} of {architecture.name} has no linear layer for it"
            raise ModelError(f"model.lora.targets = {lora.targets}", why, f"leave {group} out")


def base_model(policy: nn.Module) -> nn.Module:
    """The transformers model inside an optional PEFT wrapper."""
    inner = getattr(policy, "base_model", None)
    return inner.model if hasattr(policy, "peft_config") and inner is not None else policy


@contextlib.contextmanager
def starting_weights(policy: Any) -> Iterator[None]:
    """Inside, a LoRA policy is what it was before training: without an adapter, or with the one
    it started from."""
    if STARTED not in policy.peft_config:
        with policy.disable_adapter():
            yield
        return
    policy.set_adapter(STARTED)
    try:
        yield
    finally:
        policy.set_adapter(ADAPTER)


def frozen_copy(policy: nn.Module) -> nn.Module:
    """A copy as reference, which shares the weights that do not train with the policy."""
    frozen = [p for p in policy.parameters() if not p.requires_grad]
    return copy.deepcopy(policy, {id(p): p for p in frozen}).requires_grad_(False).eval()


def _unfreeze(model: nn.Module, config: ModelConfig, architecture: Architecture) -> nn.Module:
    marks = tuple(mark for group in config.trainable for mark in architecture.group_marks[group])
    trained = [p for n, p in model.named_parameters() if any(mark in n for mark in marks)]
    for parameter in trained:
        parameter.requires_grad_(True)
    if not trained:
        raise ModelError(f"model.trainable = {config.trainable}", "matches no weight", "change it")
    return model


def _continue_adapter(model: nn.Module, lora: LoraConfig, path: Path) -> nn.Module:
    """The adapter at `path`, trainable, and a frozen copy of it."""
    from peft import PeftModel

    require_fit(path, check_adapter(path, lora), model)
    policy = PeftModel.from_pretrained(
        model, str(path), adapter_name=ADAPTER, is_trainable=True, autocast_adapter_dtype=False
    )
    policy.load_adapter(str(path), STARTED, is_trainable=False, autocast_adapter_dtype=False)
    policy.set_adapter(ADAPTER)
    require_same_names(policy, path)
    return policy


def require_same_names(policy: nn.Module, path: Path) -> None:
    """PEFT only warns about unmatched tensors; an adapter of another model must be refused."""
    from safetensors import safe_open

    with safe_open(path / "adapter_model.safetensors", framework="pt") as file:
        saved = set(file.keys())
    mark = f".{ADAPTER}."
    ours = {n.replace(mark, ".") for n, _ in policy.named_parameters() if mark in n}
    if unmatched := sorted(saved ^ ours):
        raise ModelError(
            f"model.adapter = {path}",
            f"does not fit the model: {unmatched[0]}",
            "give an adapter of this model",
        )
