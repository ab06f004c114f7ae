"""The real packages of trackers: installed, or in the folder that `make test` makes for them."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest

from tests.support.paths import ROOT


@pytest.fixture
def trackers(monkeypatch) -> None:
    """wandb and mlflow can be imported, here and in processes that are started."""
    folder = ROOT / "build/trackers"
    if folder.is_dir():
        monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
        paths = [os.environ.get("PYTHONPATH", ""), str(ROOT), str(folder)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    missing = [name for name in ("wandb", "mlflow") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: make build/trackers")
