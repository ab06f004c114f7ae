"""The vision tower: its configuration, its weights, and its image preprocessing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medray.errors import ModelError
from medray.files import read_file
from medray.policy.conversion.weights import INSIDE_TOWER, Tensor, read_names

GIVE_TOWER = "give --vision-tower DIR: a CLIP directory (config.json, *.safetensors)"

# Configurations of towers that originals name but do not include, by the last part of the name.
KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    "clip-vit-large-patch14-336": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    }
}


@dataclass(frozen=True, slots=True)
class Tower:
    """`config`: keys of CLIPVisionConfig; `weights`: to be added to those of the original."""

    config: Mapping[str, Any]
    weights: list[Tensor]
    directory: Path | None


def find_tower(
    original: Path, config_json: Mapping[str, Any], given: Path | None, tensors: list[Tensor]
) -> Tower:
    """From `given`, from the original's folder, or (if its weights include a tower) by name alone.

    Weights inside the original win: the rest of it was trained with them.
    """
    inside = any(t.name.startswith(INSIDE_TOWER) for t in tensors)
    name = str(config_json.get("mm_vision_tower") or "")
    directory = given or _shipped_tower(original, name)
    if directory is None:
        known = KNOWN_TOWERS.get(Path(name).name.replace("_", "-"))
        if not inside:
            raise ModelError(str(original), f"does not hold its vision tower ({name})", GIVE_TOWER)
        if known is None:
            raise ModelError(
                f"mm_vision_tower = {name}", "does not determine the tower's shape", GIVE_TOWER
            )
        return Tower(known, [], None)
    config = _vision_config(directory)
    return Tower(config, [] if inside else read_names(directory, tower=True), directory)


def image_processor(tower: Tower, config: Any, *, pad: bool) -> Any:
    """The tower's own mean, deviation and size, after padding to a square or a centre crop.

    LlavaImageProcessor is CLIP's with that padding before resizing, in the mean colour, as the
    originals do with PIL; transformers and vLLM load it by the same name.
    """
    from transformers import LlavaImageProcessor

    size = config.vision_config.image_size
    if tower.directory and (tower.directory / "preprocessor_config.json").is_file():
        try:
            processor = LlavaImageProcessor.from_pretrained(
                tower.directory, do_pad=pad, local_files_only=True
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            file = tower.directory / "preprocessor_config.json"
            raise ModelError(str(file), f"unreadable ({error})", "fix it") from None
    else:
        processor = LlavaImageProcessor(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}, do_pad=pad
        )
    crop = processor.crop_size
    if (crop["height"], crop["width"]) != (size, size):
        raise ModelError(
            str(tower.directory),
            f"its images are {crop['width']} px, its tower takes {size} px",
            "give the preprocessor_config.json of this tower",
        )
    return processor


def _shipped_tower(original: Path, name: str) -> Path | None:
    """`mm_vision_tower` as a path inside the original, as in HuatuoGPT-Vision."""
    if not name or Path(name).is_absolute():
        return None
    directory = original / name
    return directory if (directory / "config.json").is_file() else None


def _vision_config(directory: Path) -> Mapping[str, Any]:
    """The vision configuration of a CLIPVisionModel (flat) or a CLIPModel (nested)."""
    file = directory / "config.json"
    try:
        config_json = json.loads(read_file(file))
        kind = config_json.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(str(file), f"unreadable ({error})", GIVE_TOWER) from None
    config = config_json.get("vision_config") if kind == "clip" else config_json
    if kind not in ("clip", "clip_vision_model") or not isinstance(config, dict):
        raise ModelError(str(directory), f"is not a CLIP model (model_type {kind})", GIVE_TOWER)
    return config
