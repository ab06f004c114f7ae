"""Whether an adapter, or trained weights, belong to a base model.

An adapter on a model that already contains it counts twice, and no shape gives that away.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from medray.errors import ModelError
from medray.files import read_file, sha256_of
from medray.policy.model.loading import resolve_model_path

METADATA = "medray.json"  # beside the weights that medray exported


def weights_digest(folder: Path) -> str:
    """A digest of all weights in a model directory; it reads every byte of them."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def read_metadata(folder: Path) -> dict[str, Any]:
    """What medray wrote beside an exported model or adapter; {} if it is not one of medray's."""
    try:
        metadata = json.loads(read_file(folder / METADATA))
    except (OSError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def require_base(trained: Path, base: Path, *, known: str | None, digest: str | None) -> None:
    """ModelError if what was trained at `trained` is known to belong to another model than `base`.

    `known`: the path of its base model where it was trained; `digest`: of that model's weights.
    Either may be None. If neither tells, a base that medray exported is refused, because it may
    contain the same training already, and any other is taken.
    """
    if digest is not None:
        if weights_digest(base) != digest:
            raise _other_base(trained, base, known)
        return
    original = _existing(known)
    if original is not None:
        if original != base and weights_digest(original) != weights_digest(base):
            raise _other_base(trained, base, known)
        return
    exported = read_metadata(base)
    if "policy_version" in exported:
        why = f"it is a merged export of run {exported.get('run')}, which may contain {trained}"
        raise ModelError(f"model.path = {base}", why, "give the model that it was trained on")


def _other_base(trained: Path, base: Path, known: str | None) -> ModelError:
    exported = read_metadata(base)
    what = "a merged export" if "policy_version" in exported else "another model"
    todo = f"give model.path={known}" if known else "give the model that it was trained on"
    return ModelError(f"model.path = {base}", f"is {what}, not the base of {trained}", todo)


def _existing(path: str | None) -> Path | None:
    try:
        return resolve_model_path(path) if path else None
    except ModelError:
        return None
