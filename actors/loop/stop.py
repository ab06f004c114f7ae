"""A request to stop (a signal, a node that leaves), and how long running work may still take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from medray.errors import MedrayError, StoppedOnRequest
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


BRIEFLY = 5.0  # seconds that work which nearly always ends at once gets after an interruption


@dataclass(slots=True)
class _Request:
    """The first request of a command, for all runs of it."""

    within: float
    why: str = "as requested"
    deadline: float = float("inf")
    made: asyncio.Event = field(default_factory=asyncio.Event)


class Stop:
    """`within`: seconds from a request to the end of the command."""

    def __init__(self, within: float, request: _Request | None = None) -> None:
        self._request = request or _Request(within)
        self._requested = self._request.made
        self._interruption: MedrayError | None = None
        self._interrupted = asyncio.Event()

    def of_run(self) -> Stop:
        """For one of several runs: requests concern all of them, an interruption this one."""
        return Stop(self.within, self._request)

    @property
    def within(self) -> float:
        return self._request.within

    @property
    def why(self) -> str:
        return self._request.why

    def request(self, why: str = "as requested", within: float | None = None) -> None:
        """Stop as soon as possible, `within` seconds; a second request changes nothing."""
        if not self._requested.is_set():
            self._request.why = why
            self._request.within = within if within is not None else self.within
            self._request.deadline = time.monotonic() + self.within
            self._requested.set()

    def interrupt(self, error: MedrayError) -> None:
        """Have the run go through `error` at the next point where it can, until `resume`."""
        self._interruption = error
        self._interrupted.set()

    def resume(self) -> None:
        """The interruption is dealt with."""
        self._interruption = None
        self._interrupted.clear()

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
        return max(0.0, self._request.deadline - time.monotonic())

    def check(self) -> None:
        """Raise StoppedOnRequest after a request, or what the run is interrupted with."""
        if self._requested.is_set():
            raise StoppedOnRequest("stopped", self.why, "continue with --resume")
        if self._interruption is not None:
            raise self._interruption

    async def cancel_on_stop(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is cancelled as soon as a request arrives."""
        return await self._race(work, self._requested.wait())

    async def interruptible(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is cancelled by a request and by an interruption."""
        return await self._race(work, self._either())

    async def briefly(self, work: Awaitable[T]) -> T:
        """The same, but it may still take a moment: usually it ends by itself."""
        return await self._race(work, self._a_moment_after())

    async def until_deadline(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is cancelled only when the time to stop is over."""
        return await self._race(work, self._time_is_up())

    async def _time_is_up(self) -> None:
        await self._requested.wait()
        await asyncio.sleep(self.seconds_left or 0.0)

    async def _either(self) -> None:
        waits = [asyncio.ensure_future(e.wait()) for e in (self._requested, self._interrupted)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _a_moment_after(self) -> None:
        await self._either()
        left = self.seconds_left
        await asyncio.sleep(BRIEFLY if left is None else min(BRIEFLY, left / 2))

    async def _race(self, work: Awaitable[T], stopped: Awaitable[object]) -> T:
        task, alarm = asyncio.ensure_future(work), asyncio.ensure_future(stopped)
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            self.check()
            raise StoppedOnRequest("stopped", self.why, "continue with --resume")
        finally:
            for pending in (task, alarm):
                pending.cancel()
            await asyncio.wait({task, alarm})
