"""The original releases that can be converted, and how each formats images and turns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from medray.errors import ModelError
from medray.files import read_file
from medray.policy.architectures import ARCHITECTURES

# LLaVA-Med v1.5, conversation mode "mistral_instruct"; the tokenizer puts <s> before it.
MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set content = message['content'] %}"
    "{% if message['role'] == 'user' %}[INST] {IMAGES}{TEXT} [/INST]"
    "{% else %} {TEXT}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
# HuatuoGPT-Vision, cli.py: no token opens or closes a turn; an answer ends with the eos token,
# which is not repeated in the history.
HUATUO_TEMPLATE = (
    "{% for message in messages %}"
    "{% set content = message['content'] %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>\\n' }}{IMAGES}{TEXT}{{ '\\n' }}"
    "{% else %}{{ '<|assistant|>\\n' }}{TEXT}{{ ' \\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
# Both put all images of a turn before its text, in whatever order they are given.
IMAGES = (
    "{% if content is not string %}{% for part in content if part['type'] == 'image' %}"
    "{{ '<image>\\n' }}{% endfor %}{% endif %}"
)
TEXT = (
    "{% if content is string %}{{ content | trim }}{% else %}"
    "{% for part in content if part['type'] == 'text' %}{{ part['text'] | trim }}{% endfor %}"
    "{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Family:
    """One original model class, named in its config.json."""

    title: str
    original: str  # the class
    text_type: str  # transformers' model_type of its language model
    text_class: str
    tokenizer: str  # transformers' class that reads its tokenizer files
    template: str
    pads_always: bool  # whether its own code pads images to squares, regardless of config.json

    @property
    def chat_template(self) -> str:
        return self.template.replace("{IMAGES}", IMAGES).replace("{TEXT}", TEXT)


FAMILIES = {
    family.original: family
    for family in (
        Family(
            "LLaVA-Med v1.5",
            "LlavaMistralForCausalLM",
            "mistral",
            "MistralForCausalLM",
            "LlamaTokenizer",
            MISTRAL_TEMPLATE,
            pads_always=False,
        ),
        Family(
            "HuatuoGPT-Vision-7B",
            "LlavaQwen2ForCausalLM",
            "qwen2",
            "Qwen2ForCausalLM",
            "Qwen2Tokenizer",
            HUATUO_TEMPLATE,
            pads_always=True,
        ),
    )
}

# What the transformers layout can express, by key of the original config.json: the accepted
# values, and the original code's default for a missing key.
EXPECTED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "mm_projector_type": (("mlp2x_gelu",), "linear"),
    "mm_vision_select_feature": (("patch",), "patch"),
    "mm_use_im_start_end": ((False, None), False),
    "image_aspect_ratio": (("pad", "square", None), None),  # "anyres": tiles, as LLaVA-1.6
}
# Keys that describe the file, not the language model.
NOT_TEXT = {"architectures", "model_type", "dtype", "transformers_version", "tokenizer_class"}


def read_original(path: Path) -> tuple[Family, dict[str, Any]]:
    """The family and the config.json of an original checkpoint; ModelError if not convertible."""
    file = path / "config.json"
    try:
        config_json = json.loads(read_file(file))
    except FileNotFoundError:
        raise ModelError(str(path), "no directory with a config.json", "check the path") from None
    except (OSError, ValueError) as error:
        raise ModelError(str(file), f"unreadable ({error})", "fix it") from None
    names = config_json.get("architectures") if isinstance(config_json, dict) else None
    if not isinstance(names, list) or not names:
        raise ModelError(str(file), "names no architecture", "give an original checkpoint")
    if names[0] in ARCHITECTURES:
        raise ModelError(
            str(path),
            f"is in the transformers layout already ({names[0]})",
            "use it as model.path as it is",
        )
    if names[0] not in FAMILIES:
        known = ", ".join(f"{f.original} ({f.title})" for f in FAMILIES.values())
        raise ModelError(str(path), f"{names[0]} cannot be converted", f"give one of {known}")
    family = FAMILIES[names[0]]
    for key, (accepted, default) in EXPECTED.items():
        value = config_json.get(key, default)
        if value not in accepted and not (key == "image_aspect_ratio" and family.pads_always):
            values = " or ".join(str(v) for v in accepted if v is not None)
            raise ModelError(f"{file}: {key} = {value}", f"only {values} can be converted")
    return family, config_json


def pads_to_square(family: Family, config_json: Mapping[str, Any]) -> bool:
    """Whether images are padded with the mean colour (otherwise they are centre-cropped)."""
    return family.pads_always or config_json.get("image_aspect_ratio") == "pad"


def build_config(
    family: Family, config_json: Mapping[str, Any], vision: Mapping[str, Any], image_id: int
) -> Any:
    """The LlavaConfig; `config_json` is the original's, `vision` the one of its tower."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CLIPVisionConfig, LlavaConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[family.text_type]
    try:
        text = kind(**_known_keys(kind, config_json), architectures=[family.text_class])
        tower = CLIPVisionConfig(**_known_keys(CLIPVisionConfig, vision))
        layer, layers = int(config_json.get("mm_vision_select_layer", -2)), tower.num_hidden_layers
        if not -layers - 1 <= layer <= layers:
            raise ValueError(f"mm_vision_select_layer {layer} of {layers} layers")
        return LlavaConfig(
            text_config=text,
            vision_config=tower,
            image_token_index=image_id,
            image_seq_length=(tower.image_size // tower.patch_size) ** 2,
            vision_feature_layer=layer,
            vision_feature_select_strategy="default",  # "patch": without the class token
            projector_hidden_act="gelu",
            tie_word_embeddings=text.tie_word_embeddings,
            architectures=["LlavaForConditionalGeneration"],
            dtype=config_json.get("torch_dtype", config_json.get("dtype")),
        )
    except (StrictDataclassError, TypeError, ValueError, ArithmeticError) as error:
        raise ModelError(
            f"config.json of {family.title}", f"is wrong ({error})", "fix it"
        ) from None


def _known_keys(kind: Any, config_json: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a configuration class (with the older names rope_theta and rope_scaling).

    The flat original mixes them with keys about images and training.
    """
    names = {f.name for f in fields(kind)} | {"rope_theta", "rope_scaling"}
    return {key: value for key, value in config_json.items() if key in names - NOT_TEXT}
