"""Input and output of an editor that works on many answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from medray.errors import ItemError
from medray.records import Edit


@dataclass(frozen=True, slots=True)
class EditTask:
    """One answer to judge. `images` [height, width, channels]: those of its case, none unless they
    may be sent.

    `patient_id` is never sent, nor is a text that contains it.
    """

    question: str
    reference: str
    answer: str
    seed: int = 0
    images: tuple[np.ndarray, ...] = field(default=(), repr=False)
    patient_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class JudgedEdit:
    """An edit, its relevance in [0, 1] if judges gave one, and a note for Pair.editor."""

    edit: Edit
    relevance: float | None = None
    note: str = ""


@runtime_checkable
class BatchEditor(Protocol):
    """An editor that works on many answers concurrently: one result per task, in order."""

    def edit_many(self, tasks: Sequence[EditTask]) -> list[JudgedEdit | ItemError]: ...
