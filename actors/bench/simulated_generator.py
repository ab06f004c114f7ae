"""A generator that sleeps instead of computing, for `medray bench loop`.

It imports next to nothing, so that sixty-four of them fit on a small machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from medray.records import Request, Response

TOKENS = 32


class SimulatedGenerator:
    """Takes `seconds` per call and no CPU time; yields `part` responses at a time."""

    def __init__(self, seconds: float, part: int) -> None:
        self.seconds, self.part = seconds, part

    def generate(
        self, expected_version: int, requests: Sequence[Request], greedy: bool, *images: Any
    ) -> Iterator[list[Response]]:
        """Responses of the usual size."""
        time.sleep(self.seconds)
        ids, logps = tuple(range(TOKENS)), (-0.5,) * TOKENS
        for start in range(0, len(requests), self.part):
            yield [
                Response(r.item_id, r.case_id, expected_version, "word " * TOKENS, ids, logps, True)
                for r in requests[start : start + self.part]
            ]
