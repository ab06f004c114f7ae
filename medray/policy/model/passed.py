"""Which inspections were passed: the same files and packages need no second one.

An inspection imports transformers and builds the model without its weights, seconds that every
start, `--resume` and cell of a study would spend again on a directory that has not changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from medray.config import ModelConfig
from medray.files import file_identity, replacing
from medray.policy.model.headers import checkpoint_headers
from medray.policy.model.loading import SHIPPED, ModelFacts

KEPT = 64  # inspections; the oldest go
PACKAGES = ("medray", "peft", "tokenizers", "torch", "transformers")


def inspect_unless_passed(
    facts: ModelFacts, config: ModelConfig, reference: ModelFacts | None
) -> None:
    """Inspect policy and reference model; ModelError if one of them could not start.

    Whether they passed is remembered in the user's cache directory, where that can be written. Of
    what ships with medray, and is inspected by its tests, only the weights' headers are read.
    """
    if facts.path.parent == SHIPPED / "phantom" and not config.adapter and reference is None:
        checkpoint_headers(facts.path)
        return
    adapter = [Path(config.adapter)] if config.adapter else []
    folders = [facts.path, *adapter, *([reference.path] if reference else [])]
    file, key = _file(), _key(config, folders)
    if file is not None and key in _read(file):
        return
    from medray.policy.model.inspection import inspect_model, inspect_weights

    inspect_model(facts, config)
    if reference is not None:
        inspect_weights(reference)
    if file is not None and key is not None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            keys = [*_read(file), key][-KEPT:]
            with replacing(file, several_writers=True) as temporary:
                temporary.write_text("\n".join(keys))


def _key(config: ModelConfig, folders: Iterable[Path]) -> str | None:
    """Digest of the settings, the versions of the packages, and what identifies each file.

    None if that cannot be had: a directory or a package is missing.
    """
    try:
        versions = [metadata.version(name) for name in PACKAGES]
        paths = [path for folder in folders for path in sorted(folder.iterdir())]
        files = [(str(path.resolve()), *file_identity(path)) for path in paths]
    except (OSError, metadata.PackageNotFoundError):
        return None
    content = [config.model_dump(mode="json"), versions, files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _file() -> Path | None:
    """The list of passed inspections; None for a user without a home."""
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(cache) / "medray" / "passed-inspections.txt"


def _read(file: Path) -> list[str]:
    """The keys in the list, the oldest first."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []
