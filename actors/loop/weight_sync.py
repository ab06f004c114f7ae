"""The learners' weights on their way to the generators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.fleet import Fleet, WeightUpdate


@dataclass(frozen=True, slots=True)
class Sync:
    """One finished weight update: its size, its duration, and how well both sides agree (nats)."""

    bytes: int
    seconds: float
    logp_gap: float
    cache_stats: Mapping[str, int] = field(default_factory=dict)  # queries and hits of generators


class WeightSync:
    """Sends weights, and remembers the last update for checkpoints."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.last_update: WeightUpdate | None = None

    async def send(self, *, changed: bool = True) -> asyncio.Task[Sync]:
        """Offer the present weights; the task ends when all generators have them.

        Unless they have `changed` since the last update, there is nothing to send.
        """
        if not changed:
            return asyncio.create_task(self._nothing())
        start = time.monotonic()
        self.last_update = await self.fleet.export()
        self.fleet.offer(self.last_update)
        return asyncio.create_task(self._arrival(self.last_update, start))

    async def send_and_wait(self) -> None:
        """The present weights in every generator."""
        await (await self.send())

    async def catch_up(self, version: int) -> None:
        """Generators with the weights of `version`, the learners' present one, if they lack them.

        Version 0 is what they start with, unless it was sent.
        """
        has = self.last_update.manifest.version if self.last_update is not None else 0
        if has != version:
            await self.send_and_wait()

    async def update_of(self, version: int) -> WeightUpdate:
        """The last update if it is of that version, otherwise a new export."""
        if self.last_update is None or self.last_update.manifest.version != version:
            return await self.fleet.export()
        return self.last_update

    async def _arrival(self, update: WeightUpdate, start: float) -> Sync:
        await self.fleet.wait_adopted(update)
        seconds = time.monotonic() - start
        return Sync(update.manifest.bytes, seconds, update.logp_gap, update.cache_stats)

    async def _nothing(self) -> Sync:
        return Sync(0, 0.0, self.last_update.logp_gap if self.last_update else 0.0)
