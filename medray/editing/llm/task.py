"""What an editor that works on many answers at once takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from medray.errors import ItemError
from medray.records import Edit


@dataclass(frozen=True, slots=True)
class Task:
    """One answer to judge. `image` [height, width, channels] is None unless it may be sent."""

    question: str
    reference: str
    answer: str
    seed: int = 0
    image: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Judged:
    """An edit, its relevance in [0, 1] where judges gave one, and a note for Pair.editor."""

    edit: Edit
    relevance: float | None = None
    note: str = ""


@runtime_checkable
class BatchEditor(Protocol):
    """An editor whose answers are worked on side by side: one outcome per task, in order."""

    def edit_many(self, tasks: Sequence[Task]) -> list[Judged | ItemError]: ...
