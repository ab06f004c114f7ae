"""Whose turn it is on GPUs that generators and learners share (`generator.colocated`).

    generators' turn   engines awake or starting, learners in host memory
    learners' turn     engines asleep, learners awake or starting

A model that loads beside another finds no memory. So learners wait until every engine has started
and fallen asleep, and an engine that is replaced waits for the generators' turn.
"""

from __future__ import annotations

import asyncio

from actors.fleet.learner_group import LearnerGroup
from actors.fleet.pool import Pool


class GpuTurns:
    """Takes turns; nothing happens where it is that side's turn already, or nothing is `shared`."""

    def __init__(self, generators: Pool, learners: LearnerGroup, *, shared: bool) -> None:
        self.generators, self.learners, self.shared = generators, learners, shared
        self._generators_turn = asyncio.Event()
        self._generators_turn.set()
        self._changing = asyncio.Lock()
        if shared:
            generators.may_start = self._generators_turn.wait

    async def clear_for_learners(self) -> None:
        """Have the generators leave: learners may start. An engine that cannot sleep is ended."""
        if self.shared:
            await self.generators.wait_ready(everyone=True)
            self._generators_turn.clear()
            await self.generators.each(lambda generator, _: generator.sleep.remote())

    async def to_learners(self) -> None:
        """Generators fall asleep, then learners take their memory again."""
        if not self.shared:
            return
        async with self._changing:
            if self._generators_turn.is_set():
                await self.clear_for_learners()
                await self.learners.call("resume")

    async def to_generators(self) -> None:
        """Learners leave; a generator wakes by itself when it is called."""
        if not self.shared:
            return
        async with self._changing:
            if not self._generators_turn.is_set():
                await self.learners.call("rest")
                self._generators_turn.set()

    def learners_left(self) -> None:
        """Learners have ended, and with them their turn."""
        self._generators_turn.set()
