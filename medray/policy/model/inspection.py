"""Whether a model directory can be used: it is used, all but its weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medray.config import ModelConfig
from medray.errors import ModelError, brief
from medray.policy.model.adapter import check_adapter, require_fit
from medray.policy.model.chat import PROBE, PROBE_IMAGE, ChatCodec
from medray.policy.model.headers import checkpoint_headers, refuse_pointer
from medray.policy.model.loading import DTYPES, ModelFacts
from medray.policy.model.skeleton import skeleton
from medray.policy.model.tuning import ADAPTER, prepare_policy, require_same_names

__all__ = ["inspect_model", "inspect_weights", "tuned_skeleton"]
SMALL_FILES = (".json", ".jinja", ".model")


def inspect_model(facts: ModelFacts, config: ModelConfig) -> None:
    """ModelError if the policy of `config` could not start.

    Reads the headers of the weights, builds the model without them, tunes it as configured,
    renders and encodes one question with one image. `facts`: of the same model.
    """
    model: Any = inspect_weights(facts)
    _inspect_prompt(facts, model.config)
    if config.lora is None or config.adapter is None:
        with torch.device("meta"):
            prepare_policy(model, config)
        return
    path = Path(config.adapter)
    headers = check_adapter(path, config.lora)
    require_fit(path, headers, model)
    require_same_names(_with_adapter(model, path), path)


def inspect_weights(facts: ModelFacts) -> nn.Module:
    """The model on the meta device; ModelError unless its weights are all there and fit."""
    adapter = facts.path / "adapter_config.json"
    if adapter.is_file():  # transformers would load it, vLLM would not
        why = f"holds {adapter.name}: an adapter beside a model"
        raise ModelError(str(facts.path), why, "merge it, or move it and set model.adapter")
    headers = checkpoint_headers(facts.path)
    return skeleton(facts.path, facts.architecture.name, headers)


def tuned_skeleton(facts: ModelFacts, config: ModelConfig) -> nn.Module:
    """The policy of `config` on the meta device, in its dtype: its sizes, and none of its memory.

    An adapter to continue has the sizes of a new one.
    """
    model = skeleton(facts.path, facts.architecture.name).to(DTYPES[config.dtype])
    with torch.device("meta"):
        policy = prepare_policy(model, config.model_copy(update={"adapter": None}))
    return policy.to(DTYPES[config.dtype])


def _inspect_prompt(facts: ModelFacts, config: Any) -> None:
    """ModelError unless what its processor makes of an image is what the model takes."""
    for file in sorted(facts.path.iterdir()):
        if file.is_file() and file.suffix in SMALL_FILES:
            refuse_pointer(file)
    codec = ChatCodec(facts.path, facts.limits)
    where, todo = str(facts.path), "give the files that belong to the model"
    largest = max(codec.tokenizer.get_vocab().values())
    if largest >= facts.vocabulary:
        why = f"its tokenizer has ids up to {largest}, config.json a vocab_size of"
        raise ModelError(where, f"{why} {facts.vocabulary}", todo)
    ids, (picture,) = codec.encode(PROBE, PROBE_IMAGE)
    if len(ids) >= facts.context:
        why = f"a context of {facts.context} tokens; a question with an image takes {len(ids)}"
        todo = "give the model's own config.json, or raise model.max_length"
        raise ModelError(where, f"has {why}", todo)
    found = codec.image_tokens(PROBE_IMAGE)
    try:
        expected = facts.architecture.picture_tokens(config, picture.shape)
    except ValueError as error:
        raise ModelError(where, f"its processor does not fit its tower: {error}", todo) from None
    if found != expected:
        why = f"its processor makes {found} tokens of an image, its config.json {expected}"
        raise ModelError(where, why, todo)


def _with_adapter(model: Any, path: Path) -> nn.Module:
    """The model with the adapter's layers, as PEFT builds them from its configuration."""
    from peft import PeftConfig, get_peft_model

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's, of names that PEFT itself then corrects
        try:
            settings = PeftConfig.from_pretrained(str(path))
            return get_peft_model(
                model, settings, adapter_name=ADAPTER, autocast_adapter_dtype=False
            )
        except (ValueError, TypeError, KeyError) as error:
            why = f"PEFT cannot read it ({brief(error)})"
            raise ModelError(
                f"model.adapter = {path}", why, "give an adapter of this model"
            ) from None
