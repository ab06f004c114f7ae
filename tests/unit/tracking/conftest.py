"""The real packages of trackers, for tests that ask for them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.trackers import importable, missing, python_path


@pytest.fixture
def trackers(monkeypatch) -> Iterator[None]:
    """wandb and mlflow can be imported, here and in processes that are started."""
    if names := missing():
        pytest.skip(f"{' and '.join(names)} not installed: make build/trackers")
    monkeypatch.setenv("PYTHONPATH", python_path(os.environ.get("PYTHONPATH", "")))
    with importable():
        yield
