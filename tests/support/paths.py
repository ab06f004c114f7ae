"""Where things are: the checkout, and the real data beside it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def shared_data() -> Path:
    """The folder of real data: $MEDRAY_DATA, or shared/data inside or beside the checkout."""
    given = os.environ.get("MEDRAY_DATA")
    places = [Path(given)] if given else [ROOT / "shared/data", ROOT.parent / "shared/data"]
    for place in places:
        if (place / "SOURCES.md").exists():
            return place
    tried = ", ".join(map(str, places))
    raise FileNotFoundError(f"no real data in {tried}: set MEDRAY_DATA, or run -m 'not data'")
