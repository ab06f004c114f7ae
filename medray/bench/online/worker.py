"""Runs TRL's side in a process of its own, where nothing of medray's side is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from medray.bench.online.result import OnlineSettings, Side
from medray.errors import RunFailed, UserError


def require_trl() -> None:
    """UserError if TRL, or what it reads data with, is not installed."""
    if missing := [name for name in ("trl", "datasets") if find_spec(name) is None]:
        todo = "install medray's extra `bench`: pip install 'medray[bench]'"
        raise UserError("--against trl", f"not installed: {', '.join(missing)}", todo)


def run_trl(settings: OnlineSettings, dataset: Path, folder: Path) -> Side:
    """Train on the phantoms of `dataset`; `folder`: for files. Raises RunFailed with the cause."""
    files = folder / "settings.json", folder / "seconds.json"
    files[0].write_text(json.dumps(asdict(settings)))
    command = [sys.executable, "-m", "medray.bench.online.trl", str(files[0]), str(dataset)]
    done = subprocess.run(
        [*command, str(files[1])],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunFailed("TRL's side", f"ended with code {done.returncode}: {last[:300]}")
    seconds = json.loads(files[1].read_text())
    return Side(seconds, [settings.pairs] * len(seconds))
