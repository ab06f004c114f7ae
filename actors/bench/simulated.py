"""Generators and editors that wait instead of computing, for `medray bench loop`.

One process stands for several replicas: each has calls of its own, and to the driver is an actor
like any other. It imports next to nothing, so that many fit on a small machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from medray.records import BatchContent, Case, EditResults, Pair, Request, Response

TOKENS = 32


class SimulatedGenerator:
    """Takes `seconds` per call and no CPU time; yields `part` responses at a time."""

    def __init__(self, seconds: float, part: int) -> None:
        self.seconds, self.part = seconds, part

    async def generate(
        self, expected_version: int, requests: Sequence[Request], greedy: bool, *images: Any
    ) -> AsyncIterator[list[Response]]:
        """Responses of the usual size."""
        await asyncio.sleep(self.seconds)
        ids, logps = tuple(range(TOKENS)), (-0.5,) * TOKENS
        for start in range(0, len(requests), self.part):
            yield [
                Response(r.item_id, r.case_id, expected_version, "word " * TOKENS, ids, logps, True)
                for r in requests[start : start + self.part]
            ]

    async def adopt(self, parcel: Any, *canaries: Any) -> tuple[dict[str, int], Any]:
        """As if the weights were there at once."""
        return {}, []


class SimulatedEditor:
    """Loads small images at once, and takes `seconds` per answer to make a pair of it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def load(self, cases: Sequence[Case]) -> tuple[Any, ...]:
        """No case is refused."""
        images = dict.fromkeys(case.image for case in cases)
        return [("", case.regions) for case in cases], *(np.zeros((8, 8, 3), "u1") for _ in images)

    async def edit(
        self, context: Any, cases: Sequence[Case], responses: Sequence[Response], *images: Any
    ) -> tuple[EditResults, None]:
        """A pair for each answer, in a batch without content."""
        await asyncio.sleep(self.seconds * len(responses))
        pairs = tuple(
            Pair(r.item_id, r.item_id, r.case_id, 0, r.text, "no", (), (), True, 1.0, "simulated")
            for r in responses
        )
        sides = tuple((pair.pair_id, 2 * TOKENS) for pair in pairs)
        return EditResults(pairs, (BatchContent((), (), sides),)), None
