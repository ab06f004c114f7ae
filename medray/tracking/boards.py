"""The boards of one run, opened together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from medray.tracking.board import Board

if TYPE_CHECKING:
    from medray.config import Config


def open_boards(
    config: Config, architecture: str, logs: Path, say: Callable[[str], None]
) -> list[Board]:
    """TensorBoard, and the trackers of `run.trackers`; `say` takes the line of one that fails."""
    from medray.tracking.sender import Sender
    from medray.tracking.shared_settings import shared_settings
    from medray.tracking.tensorboard import TensorBoard

    settings = shared_settings(config, architecture)
    boards: list[Board] = [TensorBoard(logs / "tensorboard", settings)]
    for name in config.run.trackers:
        boards.append(Sender(name, config.run.name, config.run.project, settings, logs, say))
    return boards
