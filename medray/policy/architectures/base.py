"""What medray must know about a vision-language architecture: one small file each.

Everything else (the model itself, its weights, its tokenizer) is left to transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

Group = Literal["language", "projector", "vision"]
ATTENTION_AND_MLP = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
REQUIRED = {"max_position_embeddings", "sliding_window", "vocab_size"}  # never to be guessed


class Architecture(Protocol):
    """One transformers class: where its parts are and how an image is placed in a sequence.

    A picture is one preprocessed image: a float32 numpy array in the form that the vision tower
    takes, fully described by its shape (LLaVA: [3, h, w]; Qwen2.5-VL: [t, h, w, patch], the patch
    grid).
    """

    name: str  # of the transformers class, as in config.json
    lora_targets: Mapping[Group, str]  # regular expression for the linear layers of a group
    group_marks: Mapping[Group, tuple[str, ...]]  # substrings of the parameter names of a group
    vllm_names: Mapping[str, str]  # prefix of weight names (regular expression) → prefix for vLLM

    def image_tokens(self, config: Mapping[str, Any]) -> int:
        """Tokens of one image, from config.json; 0 if that depends on the image's size."""
        ...

    def picture(self, processed: Mapping[str, Any]) -> np.ndarray:
        """The picture in a processor's outputs (numpy tensors, one image)."""
        ...

    def prompt_position_ids(
        self, prompt_ids: np.ndarray, picture_shape: tuple[int, ...], image_token: int
    ) -> tuple[np.ndarray, int]:
        """Position ids int64 [axes, P] of an expanded prompt, and the one of the token after it."""
        ...

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Projected features [n_i, D] of each picture, which replace the image tokens."""
        ...


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a config.json, in the nested or the flat layout.

    transformers omits values that are the model type's defaults; they are filled in.
    """
    flat = "hidden_size" in config and "text_config" not in config
    text: Mapping[str, Any] = config if flat else config["text_config"]
    if flat or text.keys() >= REQUIRED or "model_type" not in text:
        return text
    from transformers import CONFIG_MAPPING

    return dict(CONFIG_MAPPING[text["model_type"]](**text).to_dict())


def forest_obstacle(config: Mapping[str, Any], context: int) -> str:
    """Why branches of this model cannot share a tree; "" if they can.

    Only the attention mask tells the model that a row is a tree. Sliding-window layers count
    positions in the row, not in the branch, and would see too little of it.
    """
    text = text_config(config)
    window = text.get("sliding_window")
    slides = text.get("use_sliding_window", True) and window is not None and window < context
    return f"its attention slides over {window} of {context} tokens" if slides else ""
