"""How much room the checkpoints of a run take on the disk, before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from medray.config import Config
from medray.errors import UserError
from medray.memory.needs import GIB, WIDTH
from medray.memory.report import sizes
from medray.memory.sizes import Sizes
from medray.policy.model.loading import ModelFacts

STATE = 12  # bytes per trained parameter: its float32 master and AdamW's two moments


def checkpoint_bytes(config: Config, sizes: Sizes) -> int:
    """One checkpoint: the learner's state, and the weights that generators load."""
    sent = sizes.adapter if config.loop.sync == "adapter" else sizes.sent
    return STATE * sizes.trained + WIDTH[config.model.dtype] * sent


def most_checkpoints(config: Config) -> int:
    """How many lie side by side at most: those that are kept, and the one being written."""
    kept = config.loop.keep_checkpoints + (config.loop.keep_best is not None)
    every = config.loop.checkpoint_every or config.loop.steps
    return min(kept, -(-config.loop.steps // every)) + 1


def disk_line(config: Config, facts: ModelFacts) -> tuple[str, str]:
    """A row of the plan. Raises UserError if the disk of an existing `run.output` has less room;
    one that does not exist here may be that of another machine."""
    one, number = checkpoint_bytes(config, sizes(config, facts)), most_checkpoints(config)
    taken = f"{number} checkpoints of {one / GIB:.2f} GiB at most"
    folder = Path(config.run.output)
    if not folder.is_dir():
        return "disk", f"{taken}; run.output is not here yet"
    own = (path for path in config.run_dir.glob("checkpoints/**/*") if path.is_file())
    free = shutil.disk_usage(folder).free + sum(path.stat().st_size for path in own)
    if one * number > free:
        why = f"has {free / GIB:.2f} GiB free, and the run takes {taken}"
        raise UserError(f"run.output = {folder}", why, "make room, or lower loop.keep_checkpoints")
    return "disk", f"{taken}, {free / GIB:.0f} GiB are free"
