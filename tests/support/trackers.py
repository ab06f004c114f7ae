"""The real packages of trackers: installed, or in the folder that `make test` makes for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from tests.support.paths import ROOT

FOLDER = ROOT / "build/trackers"
NAMES = ("wandb", "mlflow")


def python_path(*before: str) -> str:
    """The variable PYTHONPATH of a process that can import them."""
    return os.pathsep.join(filter(None, (*before, str(ROOT), str(FOLDER))))


def missing() -> list[str]:
    """Those that cannot be imported, neither from here nor with `python_path`."""
    with importable():
        return [name for name in NAMES if find_spec(name) is None]


@contextmanager
def importable() -> Iterator[None]:
    before = list(sys.path)
    sys.path.append(str(FOLDER))
    try:
        yield
    finally:
        sys.path[:] = before
