"""One job of a pool, one of its replicas, and what a job returns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from actors.fleet.pool.losses import JobLosses
from medray.errors import MedrayError

# (handle, state of the replica) → the call's reference(s), or its stream
Submit = Callable[[Any, Any], ray.ObjectRef | Sequence[ray.ObjectRef] | ray.ObjectRefGenerator]
OnPart = Callable[[Any], None]
Adopt = Callable[[Any, Any], Awaitable[None]]  # (handle, the offered state)


@dataclass(slots=True)
class CallResult:
    """What a job's call returned: its (first) value, all references, begin and end (seconds).

    A call that streams has no value here: `Pool.run` has handed over each part.
    """

    value: Any
    refs: list[ray.ObjectRef]
    start: float
    end: float


@dataclass(slots=True, eq=False)
class Job:
    submit: Submit
    on_part: OnPart | None
    future: asyncio.Future[CallResult]
    start: float = 0.0  # 0: not running
    repeated: bool = False
    losses: JobLosses = field(default_factory=JobLosses)


@dataclass(slots=True, eq=False)
class Replica:
    index: int
    handle: Any = None
    state: Any = None  # the newest one adopted
    ready: bool = False
    leaving: bool = False  # with its node: it starts again elsewhere
    failed_starts: int = 0  # in a row
    losses: JobLosses | None = None  # of the job that it was lost over
    next_job: asyncio.Future[Job | None] | None = None  # while idle
    task: asyncio.Task[None] | None = None


def settle(job: Job, result: CallResult | None = None, error: MedrayError | None = None) -> None:
    """Set the job's outcome; the first one counts."""
    if job.future.done():
        return
    if error is not None:
        job.future.set_exception(error)
    else:
        assert result is not None
        job.future.set_result(result)


class Change:
    """Something that happens again and again, for those who wait for the next time."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def happened(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, timeout: float | None = None) -> None:
        """Return at the next time, or after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._next.wait()


def references(returned: ray.ObjectRef | Sequence[ray.ObjectRef]) -> list[ray.ObjectRef]:
    return [returned] if isinstance(returned, ray.ObjectRef) else list(returned)


def end(replica: Replica) -> None:
    if replica.handle is not None:
        ray.kill(replica.handle)
        replica.handle = None


def wake(replica: Replica) -> None:
    """Have an idle replica see what has changed."""
    if replica.next_job is not None and not replica.next_job.done():
        replica.next_job.set_result(None)


def union_seconds(calls: Sequence[CallResult]) -> float:
    """Seconds in which at least one of the calls was running."""
    seconds, until = 0.0, 0.0
    for call in sorted(calls, key=lambda call: call.start):
        seconds += max(0.0, call.end - max(call.start, until))
        until = max(until, call.end)
    return seconds
