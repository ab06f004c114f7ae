"""A request to stop (SIGTERM), and how long what is under way may still take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from medray.errors import StoppedOnRequest

T = TypeVar("T")


class Stop:
    """`within`: seconds from the request to the end of the command."""

    def __init__(self, within: float) -> None:
        self.within = within
        self._requested = asyncio.Event()
        self._deadline = float("inf")

    def request(self) -> None:
        """Stop as soon as it can be done; asking twice changes nothing."""
        if not self._requested.is_set():
            self._deadline = time.monotonic() + self.within
            self._requested.set()

    @property
    def seconds_left(self) -> float | None:
        """Until the command has to end; None where nobody asked."""
        if not self._requested.is_set():
            return None
        return max(0.0, self._deadline - time.monotonic())

    def check(self) -> None:
        """Raise StoppedOnRequest where the request has come."""
        if self._requested.is_set():
            raise StoppedOnRequest("stopped", "as requested", "go on with --resume")

    async def or_result(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is given up as soon as the request comes."""
        return await self._race(work, self._requested.wait())

    async def or_late(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is given up only when the time to stop is over."""
        return await self._race(work, self._time_is_up())

    async def _time_is_up(self) -> None:
        await self._requested.wait()
        await asyncio.sleep(self.seconds_left or 0.0)

    async def _race(self, work: Awaitable[T], stopped: Awaitable[object]) -> T:
        task, alarm = asyncio.ensure_future(work), asyncio.ensure_future(stopped)
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise StoppedOnRequest("stopped", "as requested", "go on with --resume")
        finally:
            for pending in (task, alarm):
                pending.cancel()
            await asyncio.wait({task, alarm})
