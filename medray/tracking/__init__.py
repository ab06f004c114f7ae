"""Boards: where the figures of a run are shown beside its own report. TensorBoard always, Weights &
Biases and MLflow by `run.trackers`; all get the same figures at the same steps."""

from medray.tracking.board import Board, Ending
from medray.tracking.boards import open_boards
from medray.tracking.packages import require_trackers

__all__ = ["Board", "Ending", "open_boards", "require_trackers"]
