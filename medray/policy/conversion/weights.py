"""Rename and copy weights file by file; every tensor is accounted for before any is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from medray.errors import ModelError
from medray.files import read_file

INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth")
SHARD_BYTES = 2 << 30  # of one written file, which bounds the memory in use

# Prefixes of an original's names → prefixes of published LLaVA checkpoints, which transformers
# and vLLM both read.
RENAMED = {
    "model.embed_tokens.": "language_model.model.embed_tokens.",
    "model.layers.": "language_model.model.layers.",
    "model.norm.": "language_model.model.norm.",
    "lm_head.": "language_model.lm_head.",
    "model.mm_projector.0.": "multi_modal_projector.linear_1.",
    "model.mm_projector.2.": "multi_modal_projector.linear_2.",
    "model.vision_tower.vision_tower.vision_model.": "vision_tower.vision_model.",
}
# The same for a CLIP directory: CLIPModel and older CLIPVisionModel; current CLIPVisionModel.
RENAMED_TOWER = {
    "vision_model.": "vision_tower.vision_model.",
    "embeddings.": "vision_tower.vision_model.embeddings.",
    "encoder.": "vision_tower.vision_model.encoder.",
    "pre_layrnorm.": "vision_tower.vision_model.pre_layrnorm.",
    "post_layernorm.": "vision_tower.vision_model.post_layernorm.",
}
# Buffers that older versions of transformers saved and the current one computes.
COMPUTED = ("rotary_emb.inv_freq", "embeddings.position_ids")
# CLIP's text model, and the projections into the shared space.
NOT_VISION = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
# Published names → parameter names of the transformers class, for the comparison with it.
PUBLISHED_TO_CLASS = {
    "language_model.lm_head.": "lm_head.",
    "language_model.model.": "model.language_model.",
    "multi_modal_projector.": "model.multi_modal_projector.",
    "vision_tower.vision_model.": "model.vision_tower.",
}
INSIDE_TOWER = "model.vision_tower."


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor on disk and the name it is written under ("" if it is left out)."""

    file: Path
    name: str
    target: str
    shape: tuple[int, ...]
    bytes: int


def read_names(path: Path, *, tower: bool) -> list[Tensor]:
    """All tensors of a directory's safetensors with their new names; ModelError for unknown ones.

    `tower`: the directory is a CLIP model, of which only the vision half is used.
    """
    table, ignored = (RENAMED_TOWER, NOT_VISION) if tower else (RENAMED, ())
    tensors: dict[str, Tensor] = {}
    unknown = []
    for file in _files(path):
        with _opened(file) as handle:
            for name in list(handle.keys()):
                if name in tensors:
                    raise ModelError(f"{file}: {name}", "is in two files", "keep one of them")
                left_out = name.endswith(COMPUTED) or name.startswith(ignored)
                target = "" if left_out else _renamed(name, table)
                if not (target or left_out):
                    unknown.append(name)
                view = handle.get_slice(name)
                shape = tuple(view.get_shape())
                tensors[name] = Tensor(file, name, target, shape, _bytes(shape, view.get_dtype()))
    if unknown:
        raise ModelError(
            str(path), f"unknown weights: {_first_names(unknown)}", "check the checkpoint"
        )
    return list(tensors.values())


def check_complete(tensors: Iterable[Tensor], config: Any, original: Path) -> None:
    """ModelError unless these are the parameters of LlavaForConditionalGeneration(config)."""
    import torch
    from transformers import LlavaForConditionalGeneration

    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    expected = {name: tuple(w.shape) for name, w in model.state_dict().items()}
    renamed = {_renamed(t.target, PUBLISHED_TO_CLASS): t for t in tensors if t.target}
    if missing := sorted(set(expected) - set(renamed)):
        raise ModelError(
            str(original), f"weights are missing: {_first_names(missing)}", "complete it"
        )
    if extra := [t.name for name, t in renamed.items() if name not in expected]:
        raise ModelError(
            str(original), f"unknown weights: {_first_names(extra)}", "check config.json"
        )
    for name, tensor in renamed.items():
        if tensor.shape != expected[name]:
            why = f"is {list(tensor.shape)}, but config.json says {list(expected[name])}"
            raise ModelError(f"{tensor.file}: {tensor.name}", why, "check the checkpoint")


def write_weights(tensors: Iterable[Tensor], out: Path) -> None:
    """Copy to `out` under the new names, holding at most one written file in memory."""
    from safetensors.torch import save_file

    parts = list(_parts([t for t in tensors if t.target]))
    written: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        with _opened(part[0].file) as handle:
            content = {t.target: handle.get_tensor(t.name) for t in part}
            save_file(content, out / name, metadata={"format": "pt"})
            (out / name).chmod(0o644)  # safetensors makes it readable by its owner only
        written |= dict.fromkeys(content, name)
    total = sum(t.bytes for part in parts for t in part)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(written.items()))}
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _parts(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors of one file, up to SHARD_BYTES (a larger tensor is its own part)."""
    for _, group in groupby(tensors, key=lambda t: t.file):
        part: list[Tensor] = []
        for tensor in group:
            if part and sum(t.bytes for t in part) + tensor.bytes > SHARD_BYTES:
                yield part
                part = []
            part.append(tensor)
        yield part


def _files(path: Path) -> list[Path]:
    """The safetensors of a directory: those named by its index, or all of them."""
    if (path / INDEX).is_file():
        try:
            names = json.loads(read_file(path / INDEX))["weight_map"].values()
            files = [path / Path(name).name for name in sorted(set(names))]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(str(path / INDEX), f"unreadable ({error})", "fix it") from None
    else:
        files = sorted(path.glob("*.safetensors"))
    for file in files:
        if not file.is_file():
            raise ModelError(str(file), "is in the index but not on the disk", "complete it")
    if not files:
        pickled = any(any(path.glob(pattern)) for pattern in PICKLES)
        raise ModelError(
            str(path),
            "holds no *.safetensors" + (", only pickled weights" if pickled else ""),
            "medray does not unpickle models: save them as safetensors first, see docs/models.md"
            if pickled
            else "complete it",
        )
    return files


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        handle = safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise ModelError(
            str(file), f"not a readable safetensors file ({error})", "download it again"
        ) from None
    with handle as opened:
        yield opened


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """The new name, or "" if no prefix matches."""
    for prefix, new in table.items():
        if name.startswith(prefix):
            return new + name.removeprefix(prefix)
    return ""


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    """Size of a tensor; `dtype` as safetensors names it: F32, BF16, F8_E4M3 …"""
    bits = int("".join(c for c in dtype.split("_")[0] if c.isdigit()) or 8)
    return math.prod(shape) * bits // 8


def _first_names(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
