"""Whether the trackers that a configuration names can be used here; nothing heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from medray.errors import ConfigError

STORE = "MLFLOW_TRACKING_URI"  # a variable, not a key: an address may hold a password


def require_trackers(names: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Raise ConfigError for a tracker whose package is missing, or that has no address."""
    variables = os.environ if environment is None else environment
    for name in names:
        key = f"run.trackers = {name}"
        if not _installed(name):
            why = f"the package {name} is not installed"
            raise ConfigError(key, why, f"pip install 'medray[{name}]', or leave it out")
    if "mlflow" in names and not variables.get(STORE, "").strip():
        raise ConfigError(
            "run.trackers = mlflow",
            "the variable MLFLOW_TRACKING_URI is not set",
            f"set it to the address of your server, or to a file: {STORE}=sqlite:////path/mlflow.db",
        )


def _installed(package: str) -> bool:
    """A folder of that name, which W&B leaves where it ran, is not the package."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None
