"""A model without its weights: every parameter's name and shape, and none of its values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medray.errors import ModelError, brief
from medray.policy.model.headers import TensorHeader

# Types of weights that are not quantised, and of buffers that older checkpoints hold.
PLAIN = {"F64", "F32", "F16", "BF16", "I64", "BOOL"}


def skeleton(
    folder: Path, architecture: str, headers: Mapping[str, TensorHeader] | None = None
) -> nn.Module:
    """The model of a directory on the meta device, filled by transformers' own loader.

    `headers`: of its checkpoint; ModelError unless they are the weights that config.json
    describes. None: only the model. `architecture` is the class's name.
    """
    import transformers

    model_class = getattr(transformers, architecture)
    config = _read_config(folder, model_class)
    if headers is None:
        with torch.device("meta"):
            return model_class(config)
    _refuse_quantised(folder, config, headers)
    tensors = {
        name: torch.empty(header.shape, dtype=torch.bfloat16, device="meta")
        for name, header in headers.items()
    }
    try:
        with _quiet():
            model, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                dtype=torch.bfloat16,
                device_map="meta",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # of transformers or torch, for sizes that make no model
        why = f"describes no model that can be built ({brief(error)})"
        raise ModelError(str(folder / "config.json"), why, "give the model's own") from None
    if problem := unfit(info):
        raise ModelError(str(folder), f"weights do not fit config.json: {problem}", "check both")
    return model


def unfit(info: Mapping[str, Any]) -> str:
    """What transformers' loading report says is wrong with the weights; "" if nothing is."""
    if mismatched := sorted(info["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        more = _more(mismatched)
        return f"{name} is {list(found)} and has to be {list(wanted)}{more}"
    if missing := sorted(info["missing_keys"]):
        return f"{missing[0]} is missing{_more(missing)}"
    if unexpected := sorted(info["unexpected_keys"]):
        return f"{unexpected[0]} belongs to no layer{_more(unexpected)}"
    return ""


def _more(names: list[Any]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _read_config(folder: Path, model_class: Any) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers checks values with errors of many kinds
        why = f"transformers cannot read it ({brief(error)})"
        raise ModelError(str(folder / "config.json"), why, "give the model's own") from None
    if not isinstance(config, model_class.config_class):
        why = f"is of model_type {config.model_type}, its architecture is {model_class.__name__}"
        raise ModelError(str(folder / "config.json"), why, "give the model's own")
    return config


def _refuse_quantised(folder: Path, config: Any, headers: Mapping[str, TensorHeader]) -> None:
    """ModelError for weights that are not plain numbers: they can neither be trained nor sent."""
    todo = "give the unquantised release"
    declared = getattr(config, "quantization_config", None)
    if declared is not None:
        settings = declared if isinstance(declared, dict) else declared.to_dict()
        method = settings.get("quant_method", "an unnamed method")
        raise ModelError(str(folder), f"is quantised ({method})", todo)
    for name, header in headers.items():
        if header.dtype not in PLAIN:
            why = f"{name} is stored as {header.dtype}: its weights are quantised"
            raise ModelError(str(folder), why, todo)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar and its table of what does not fit."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
