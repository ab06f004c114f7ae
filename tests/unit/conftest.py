"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llava import build_tiny_llava


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random LLaVA look-alike."""
    return build_tiny_llava(tmp_path_factory.mktemp("model") / "tiny-llava")
