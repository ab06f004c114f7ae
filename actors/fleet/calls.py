"""One call of an actor: awaited with a deadline, its failures sorted by their cause.

ActorLost     the actor is gone, stuck or broken: another one can do the same work
ObjectsLost   an argument was lost with its node: make it again, the actor is fine
DiskFault     a disk is full, read-only or gone: another actor would fare no better
otherwise     what the method itself raised: `MedrayError` as it is, anything else as ActorLost
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import ray
from ray.exceptions import (
    ActorUnavailableError,
    ObjectLostError,
    OutOfDiskError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
)

from medray.errors import DiskFault, MedrayError, RunFailed
from medray.files import disk_fault

START_DEADLINE = 900.0  # seconds of an actor's start: a large model from slow storage
OBJECT_DEADLINE = 600.0  # seconds to move weights or images, from another node at worst
NODE_GONE = "its node is gone"
UNREACHABLE = "it cannot be reached: its node has vanished, or the network between has"

Cause = Literal["died", "stuck", "broken"]


class ActorLost(RunFailed):
    """The actor cannot be used again. `cause` is what its restart is charged to."""

    def __init__(self, what: str, cause: Cause, why: str) -> None:
        super().__init__(what, why, "see the Ray logs")
        self.cause = cause
        self.blamed = False  # whether its work is suspected, not the actor

    @property
    def with_node(self) -> bool:
        """Whether it was lost because its node was."""
        return self.why == NODE_GONE

    def __reduce__(self) -> tuple[type[ActorLost], tuple[str, Cause, str]]:
        return (type(self), (self.what, self.cause, self.why))


class JobLost(ActorLost):
    """One piece of work took along every actor that tried it; other work goes on."""


class ObjectsLost(RunFailed):
    """An argument of the call was lost with the node that held it."""


async def await_ref(ref: ray.ObjectRef, deadline: float, what: str) -> Any:
    """The value of `ref` within `deadline` seconds, or one of the failures above."""
    try:
        async with asyncio.timeout(deadline):
            return await ref
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MedrayError):
            raise cause from None
        if isinstance(cause, ObjectLostError):
            raise ObjectsLost(what, _first_line(cause)) from error
        if cause is not None and (fault := disk_fault(cause)):
            raise fault from error
        raise ActorLost(what, "broken", _first_line(cause or error)) from error
    except TimeoutError:
        raise ActorLost(what, "stuck", f"no answer within {deadline:.0f} s") from None
    except ObjectLostError as error:
        raise ObjectsLost(what, _first_line(error)) from error
    except (RayActorError, TaskUnschedulableError) as error:
        if "creation task" in str(error):
            raise ActorLost(what, "broken", _last_line(error)) from error
        raise ActorLost(what, "died", _in_plain_words(error)) from error
    except OutOfDiskError as error:
        todo = "free some space, then go on with --resume"
        raise DiskFault(what, "the disk of Ray's temporary folder is full", todo) from error
    except RayError as error:
        raise ActorLost(what, "broken", _first_line(error)) from error


async def stream_refs(
    stream: ray.ObjectRefGenerator, deadline: float, what: str
) -> AsyncIterator[Any]:
    """What a streaming call yields, one value after the other, each within `deadline` seconds."""
    while True:
        try:
            async with asyncio.timeout(deadline):
                ref = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise ActorLost(what, "stuck", f"nothing for {deadline:.0f} s") from None
        yield await await_ref(ref, deadline, what)


def _in_plain_words(error: BaseException) -> str:
    """Why an actor died, as far as Ray knows."""
    text = str(error)
    if isinstance(error, ActorUnavailableError):
        return UNREACHABLE
    if "`ray.kill`" in text:
        return "it was killed through Ray"
    if "worker process has died" in text:
        return "its process ended unexpectedly (killed, out of memory, or crashed)"
    if "node" in text and ("died" in text or "dead" in text or "terminated" in text):
        return NODE_GONE
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {text[0]}"[:500]


def _last_line(error: BaseException) -> str:
    """The exception itself, at the end of a remote traceback."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else type(error).__name__
