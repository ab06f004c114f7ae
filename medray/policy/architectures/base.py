"""What medray must know of a vision-language architecture: one small file each.

Everything else (the model itself, its weights, its tokenizer) is transformers' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

Group = Literal["language", "projector", "vision"]
ATTENTION_AND_MLP = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
WANTED = {"max_position_embeddings", "sliding_window", "vocab_size"}  # what medray may not guess


class Architecture(Protocol):
    """One transformers class: where its parts are and how it places an image in a sequence.

    A picture is one numpy array, float32, in the form the vision tower takes; its shape alone
    tells everything about it (LLaVA: [3, h, w]; Qwen2.5-VL: [t, h, w, patch], the patch grid).
    """

    name: str  # of the transformers class, as in config.json
    lora_targets: Mapping[Group, str]  # regular expression of the linear layers of a group
    group_marks: Mapping[Group, tuple[str, ...]]  # parts of the parameter names of a group
    vllm_names: Mapping[str, str]  # how names of weights begin (regular expression) → for vLLM

    def image_tokens(self, tree: Mapping[str, Any]) -> int:
        """Tokens of one image from config.json; 0 where that depends on the image's size."""
        ...

    def picture(self, processed: Mapping[str, Any]) -> np.ndarray:
        """The one picture among a processor's outputs (numpy, images=[one])."""
        ...

    def prompt_positions(
        self, prompt_ids: np.ndarray, picture_shape: tuple[int, ...], image_token: int
    ) -> tuple[np.ndarray, int]:
        """Position ids int64 [axes, P] of an expanded prompt, and that of the token after it."""
        ...

    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Projected features [n_i, D] of each picture, as they replace the image tokens."""
        ...


def text_config(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a config.json, in the nested and in the flat layout.

    transformers leaves out what is the default of the kind of model; it is filled in.
    """
    flat = "hidden_size" in tree and "text_config" not in tree
    text: Mapping[str, Any] = tree if flat else tree["text_config"]
    if flat or text.keys() >= WANTED or "model_type" not in text:
        return text
    from transformers import CONFIG_MAPPING

    return dict(CONFIG_MAPPING[text["model_type"]](**text).to_dict())


def forest_obstacle(tree: Mapping[str, Any], context: int) -> str:
    """Why sequences of this model cannot share a trunk; "" where they can.

    A tree is told to the model by its attention mask alone. Layers that look at a sliding
    window count places in the row, not in the branch, and would see too little of it.
    """
    text = text_config(tree)
    window = text.get("sliding_window")
    slides = text.get("use_sliding_window", True) and window is not None and window < context
    return f"its attention slides over {window} of {context} tokens" if slides else ""
