"""What medray must know about a vision-language architecture: one small file each.

Everything else (the model itself, its weights, its tokenizer) is left to transformers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from medray.errors import brief

Group = Literal["language", "projector", "vision"]
ATTENTION_AND_MLP = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
REQUIRED = {"max_position_embeddings", "sliding_window", "vocab_size"}  # never to be guessed
FULL, SLIDING = "full_attention", "sliding_attention"  # transformers' names for kinds of layers


class Architecture(Protocol):
    """One transformers class: where its parts are and how an image is placed in a sequence.

    A picture is one preprocessed image: a float32 numpy array in the form that the vision tower
    takes, fully described by its shape (LLaVA: [3, h, w]; Qwen2.5-VL: [t, h, w, patch], the patch
    grid; InternVL: [tiles, 3, h, w]).
    """

    name: str  # of the transformers class, as in config.json
    # Regular expression for the linear layers of a group; a group without any is left out.
    lora_targets: Mapping[Group, str]
    group_marks: Mapping[Group, tuple[str, ...]]  # substrings of the parameter names of a group
    vllm_names: Mapping[str, str] = {}  # prefix of weight names (regular expression) → for vLLM
    # Groups whose adapters vLLM can apply; others have to be merged (loop.sync: full).
    adapters_in_vllm: tuple[Group, ...] = ("language", "projector", "vision")
    # Whether the tokens of one image see each other, those behind them included. vLLM's backend
    # for CPUs knows no such mask: there a generator would be another policy than the learner's.
    image_sees_itself: bool = False

    @abstractmethod
    def image_tokens(self, config: Mapping[str, Any]) -> int:
        """Tokens of one image, from config.json; 0 if that depends on the image's size."""
        ...

    @abstractmethod
    def picture_tokens(self, config: Any, shape: tuple[int, ...]) -> int:
        """Features that a model makes of a picture of this shape, by its transformers config.

        Raises ValueError if its tower does not take such a picture.
        """
        ...

    def pictures(
        self, processed: Mapping[str, Any], patches: Sequence[int]
    ) -> tuple[np.ndarray, ...]:
        """The pictures in a processor's outputs (numpy tensors), one per image.

        `patches`: of each image, what the processor counts as such (tiles, for InternVL).
        """
        pixels = np.asarray(processed["pixel_values"], dtype=np.float32)
        return tuple(np.ascontiguousarray(own) for own in pixels)

    def prompt_position_ids(
        self, prompt_ids: np.ndarray, shapes: Sequence[tuple[int, ...]], image_token: int
    ) -> tuple[np.ndarray, int]:
        """Position ids int64 [axes, P] of an expanded prompt with pictures of these shapes, and
        the one of the token after it."""
        length = len(prompt_ids)
        return np.arange(length, dtype=np.int64)[None], length

    @abstractmethod
    def features(self, model: nn.Module, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Features [n_i, F] of each picture, one row for each of its image tokens."""
        ...

    def language_inputs(
        self, embedded: Tensor, features: Tensor, image_positions: Tensor
    ) -> dict[str, Any]:
        """What the language model is called with for its tokens.

        embedded [R, L, D]: of all ids; features [M, F]: those of the flat `image_positions` [M],
        which ascend.
        """
        flat = embedded.reshape(-1, embedded.shape[-1])
        placed = flat.index_copy(0, image_positions, features.to(embedded.dtype))
        return {"inputs_embeds": placed.view_as(embedded)}

    def heat(self, product: np.ndarray, tokens: int) -> np.ndarray:
        """|Σ| of a picture's values (as its shape) per place [h, w] of the image it shows.

        `tokens`: image tokens of the picture.
        """
        return np.abs(product.sum(0))


def tokens_by_picture(total: int, shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Image tokens of each of a prompt's pictures: every tower makes as many of equal areas.

    >>> tokens_by_picture(10, [(1, 4, 4, 96), (1, 4, 6, 96)])
    [4, 6]
    """
    sizes = [prod(shape) for shape in shapes]
    return [total * size // sum(sizes) for size in sizes]


def require_feature_layer(config: Any) -> None:
    """ValueError if a transformers config reads its tower at a layer that it does not have."""
    given, layers = config.vision_feature_layer, int(config.vision_config.num_hidden_layers)
    for layer in [given] if isinstance(given, int) else given:
        if not -layers - 1 <= layer <= layers:
            raise ValueError(f"vision_feature_layer is {layer}, and the tower has {layers} layers")


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a config.json, in the nested or the flat layout.

    transformers omits values that are the model type's defaults; they are filled in. Raises
    KeyError or ValueError for values that make no model.
    """
    flat = "hidden_size" in config and "text_config" not in config
    text: Mapping[str, Any] = config if flat else config["text_config"]
    if flat or text.keys() >= REQUIRED or "model_type" not in text:
        return text
    from transformers import CONFIG_MAPPING

    try:
        return dict(CONFIG_MAPPING[text["model_type"]](**text).to_dict())
    except Exception as error:  # each class checks its values with errors of its own
        raise ValueError(brief(error)) from None


def layer_kinds(text: Mapping[str, Any]) -> set[str]:
    """Kinds of the decoder's layers, from a text configuration: by transformers' names."""
    if text.get("layer_types"):
        return set(text["layer_types"])
    slides = text.get("sliding_window") is not None and text.get("use_sliding_window", True)
    return {SLIDING} if slides else {FULL}


def attention_window(text: Mapping[str, Any], context: int) -> int | None:
    """Tokens that a sliding layer sees, itself included; None if no layer sees less than all."""
    window = text.get("sliding_window")
    slides = SLIDING in layer_kinds(text) and window is not None and window < context
    return int(window) if slides and window is not None else None


def forest_obstacle(config: Mapping[str, Any]) -> str:
    """Why branches of this model cannot share a tree; "" if they can.

    Only the attention mask tells the model that a row is a tree: layers that pass a state from
    token to token along the row would carry one branch into the next.
    """
    other = sorted(layer_kinds(text_config(config)) - {FULL, SLIDING})
    return f"it has layers of {other[0]}, which go through a row in order" if other else ""
