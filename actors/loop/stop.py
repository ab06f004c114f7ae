"""A request to stop (a signal), and how long running work may still take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterator, Mapping
from typing import TypeVar

from medray.errors import StoppedOnRequest
from medray.process import current_signals

T = TypeVar("T")
OF_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set in the driver of a Ray job
JOB_GRACE = "RAY_JOB_STOP_WAIT_TIME_S"  # as the job's supervisor reads it; its child inherits it


def grace_note(within: float, environment: Mapping[str, str]) -> str:
    """What to know beforehand if `ray job stop` kills before a checkpoint is written; else ""."""
    if OF_A_JOB not in environment:
        return ""
    try:
        grace = float(environment.get(JOB_GRACE, "3"))
    except ValueError:
        return ""
    if grace >= within:
        return ""
    return (
        f"`ray job stop` kills this run after {grace:g} s, faults.stop_within is {within:g} s: "
        f"set {JOB_GRACE} before `ray start`"
    )


class Stop:
    """`within`: seconds from a request to the end of the command."""

    def __init__(self, within: float) -> None:
        self.within = within
        self._requested = asyncio.Event()
        self._deadline = float("inf")

    def request(self) -> None:
        """Stop as soon as possible; a second request changes nothing."""
        if not self._requested.is_set():
            self._deadline = time.monotonic() + self.within
            self._requested.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within it the signals that stop a command are requests to this loop."""
        loop, signals = asyncio.get_running_loop(), current_signals()
        if signals is None:
            yield
            return
        with signals.hand_to(lambda: loop.call_soon_threadsafe(self.request), self.within):
            yield

    @property
    def seconds_left(self) -> float | None:
        """Until the command has to end; None without a request."""
        if not self._requested.is_set():
            return None
        return max(0.0, self._deadline - time.monotonic())

    def check(self) -> None:
        """Raise StoppedOnRequest after a request."""
        if self._requested.is_set():
            raise StoppedOnRequest("stopped", "as requested", "continue with --resume")

    async def cancel_on_stop(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is cancelled as soon as a request arrives."""
        return await self._race(work, self._requested.wait())

    async def until_deadline(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is cancelled only when the time to stop is over."""
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
            raise StoppedOnRequest("stopped", "as requested", "continue with --resume")
        finally:
            for pending in (task, alarm):
                pending.cancel()
            await asyncio.wait({task, alarm})
