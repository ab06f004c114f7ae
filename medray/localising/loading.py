"""Visual tools on disk: what a directory must hold, and loading it by transformers' own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medray.config import LocaliserConfig
from medray.errors import ModelError
from medray.files import read_file

SHIPPED = Path(__file__).parents[1]  # "phantom/localiser" is a directory of the package
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
# kind → transformers' class, its processor, and the model types it loads
CLASSES = {
    "clipseg": ("CLIPSegForImageSegmentation", "CLIPSegProcessor", ("clipseg",)),
    "grounding-dino": (
        "GroundingDinoForObjectDetection",
        "GroundingDinoProcessor",
        ("grounding-dino",),
    ),
    "sam3": ("Sam3Model", "Sam3Processor", ("sam3", "sam3_video")),
}


def tool_directory(config: LocaliserConfig) -> Path:
    """The checked directory of a visual tool; ModelError with one line if it cannot be used."""
    kind, path = config.kind, config.path
    assert kind is not None
    assert path is not None
    name, _, types = CLASSES[kind]
    key = f"localiser.path = {path}"
    folder = next((p for p in (Path(path), SHIPPED / path) if (p / "config.json").is_file()), None)
    if folder is None:
        remedy = f"give the directory of a {kind} model, or phantom/localiser for the shipped one"
        raise ModelError(key, "no directory with a config.json", remedy)
    _transformers_class(name)
    found = _model_type(folder / "config.json", key)
    if found not in types:
        why = f"holds a model of type {found!r}, not of localiser.kind = {kind}"
        raise ModelError(key, why, "give another directory, or the kind that fits")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(key, "holds no *.safetensors", "medray does not unpickle models")
    if not any((folder / file).is_file() for file in PROCESSORS):
        raise ModelError(key, f"holds no {' or '.join(PROCESSORS)}", "add the file")
    return folder.resolve()


def load_tool(folder: Path, kind: str, device: str) -> tuple[Any, Any]:
    """(model in eval mode on the device, processor). ModelError if weights are missing."""
    from transformers.utils import logging

    name, processor, _ = CLASSES[kind]
    logging.disable_progress_bar()  # it would be drawn in the middle of a report
    try:
        model, report = _transformers_class(name).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        reader = _transformers_class(processor).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300]
        raise ModelError(f"localiser.path = {folder}", why, "check its files") from None
    if missing := sorted(report["missing_keys"]):
        why = f"lacks {len(missing)} weights of {name}, among them {missing[0]}"
        raise ModelError(f"localiser.path = {folder}", why, "give a complete model")
    return model.float().to(device).eval(), reader


def _transformers_class(name: str) -> Any:
    import transformers

    if not hasattr(transformers, name):
        raise ModelError(
            f"transformers {transformers.__version__}",
            f"has no {name}",
            "choose another localiser.kind, or install a newer transformers",
        )
    return getattr(transformers, name)


def _model_type(file: Path, key: str) -> str:
    try:
        return str(json.loads(read_file(file)).get("model_type"))
    except (OSError, ValueError, AttributeError):
        raise ModelError(key, "its config.json cannot be read", "check the file") from None
