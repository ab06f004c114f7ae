"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples everywhere: CI fails for what a commit changed. HYPOTHESIS_PROFILE=default
# searches anew.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: $MEDRAY_DATA, or shared/data inside or beside the checkout."""
    root = Path(__file__).resolve().parents[1]
    given = os.environ.get("MEDRAY_DATA")
    places = [Path(given)] if given else [root / "shared/data", root.parent / "shared/data"]
    for place in places:
        if (place / "SOURCES.md").exists():
            return place
    tried = ", ".join(map(str, places))
    raise FileNotFoundError(f"no real data in {tried}: set MEDRAY_DATA, or run -m 'not data'")
