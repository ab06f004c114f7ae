"""What every board is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

Ending = Literal["finished", "stopped", "failed"]


class Board(Protocol):
    """Takes figures of steps. Whatever happens to it is not an error of the run."""

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Finite numbers by name; of one step there may be several such sets."""

    def close(self, ending: Ending) -> None:
        """How the run ended. No figures follow."""
