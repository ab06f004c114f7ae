"""The learner's ranks as one: they start, work and die together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import ray

from actors.fleet.calls import START_DEADLINE, ActorLost, ObjectsLost, await_ref
from actors.fleet.pool.losses import MAX_FAILED_STARTS
from medray.config import Config
from medray.errors import RunFailed


class LearnersLost(RunFailed):
    """The learners are gone; the run can return to its newest checkpoint."""

    def __init__(self, lost: ActorLost) -> None:
        super().__init__(lost.what, lost.why, lost.todo)
        self.lost = lost


Start = Callable[[], Coroutine[Any, Any, None]]


class LearnersStart:
    """The first start of the learners, beside others. Until somebody has waited for its end they
    hold nothing, and may begin anew on other nodes.

    `start` starts them; `leave` ends those that load, and gives their places back.
    """

    def __init__(self, start: Start, leave: Callable[[], None]) -> None:
        self.start, self.leave = start, leave
        self._task: asyncio.Task[None] | None = None
        self._finished = False

    @property
    def pending(self) -> bool:
        """Whether nobody has waited for its end yet."""
        return not self._finished

    def begin(self, start: Start | None = None) -> None:
        """Begin in the background, unless it has begun elsewhere before its turn."""
        if self._task is None:
            self._finished = False
            self._task = _started((start or self.start)())

    def begin_elsewhere(self, once: Callable[[], Awaitable[None]]) -> None:
        """Begin anew, `once` there is room."""
        self._task = _started(self._again(self._task, once))

    async def finished(self) -> None:
        """Return at its end. Raises what it ended with."""
        while (task := self._task) is not None:
            await asyncio.wait({task})
            if task is self._task:  # else they have begun elsewhere
                self._task, self._finished = None, True
                task.result()

    def cancel(self) -> None:
        """Give it up: whoever waits for its end goes on."""
        self._finished = True
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _again(
        self, begun: asyncio.Task[None] | None, once: Callable[[], Awaitable[None]]
    ) -> None:
        if begun is not None:
            begun.cancel()
            await asyncio.wait({begun})
        self.leave()
        await once()
        await self.start()


def _started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Its task, of which asyncio does not complain if nobody asks how it ended."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


class LearnerGroup:
    """Every call goes to each rank and is answered by all, or the group is lost.

    Ranks wait for each other within a call, so after a failure of one the others are stuck in it:
    none of them is used again. Calls run one after the other.
    """

    def __init__(self, spawn: Callable[[int], Any], world: int, deadline: float) -> None:
        self.spawn, self.world, self.deadline = spawn, world, deadline
        self.handles: list[Any] = []
        self.failed_starts = 0  # in a row
        self.turn = asyncio.Lock()  # a deadline counts from when the ranks begin the call

    async def start(self) -> None:
        """Spawn the ranks, have them meet, and load the model.

        Raises RunFailed if they died of it twice in a row: they would again.
        """
        try:
            await self._start()
        except LearnersLost as lost:
            self.failed_starts += 1
            if lost.lost.cause != "died" or self.failed_starts < MAX_FAILED_STARTS:
                raise
            why = f"died {self.failed_starts} times in a row as it started: {lost.why}"
            raise RunFailed(lost.what, why, "check the memory") from lost
        self.failed_starts = 0

    async def _start(self) -> None:
        self.handles = [self.spawn(rank) for rank in range(self.world)]
        meeting = self.handles[0].rendezvous.remote()
        (address, port), *_ = await self._results([meeting], START_DEADLINE, "start")
        joined = [handle.join.remote(address, port) for handle in self.handles]
        await self._results(joined, START_DEADLINE, "start")

    async def reset(self, config: Config) -> None:
        """Have the ranks begin another run. Raises LearnersLost."""
        self.deadline, self.failed_starts = config.faults.deadline, 0
        async with self.turn:
            calls = [handle.reset.remote(config) for handle in self.handles]
            await self._results(calls, START_DEADLINE, "reset")

    async def call(self, method: str, *args: Any) -> list[Any]:
        """What `method` returns, rank by rank."""
        return await (await self.begin(method, *args))

    async def begin(self, method: str, *args: Any) -> asyncio.Task[list[Any]]:
        """Send the call once its turn has come; the task ends with what it returns.

        A later call waits for the end of this one, whether or not the task is awaited.
        """
        return await self.begin_each(method, [args] * self.world)

    async def begin_each(
        self, method: str, args_by_rank: Sequence[Sequence[Any]]
    ) -> asyncio.Task[list[Any]]:
        """As `begin`, with arguments of its own for each rank."""
        task, _ = await self._submit(method, args_by_rank)
        return task

    async def references(self, method: str, *args: Any, returns: int) -> list[ray.ObjectRef]:
        """Rank 0's references of a method with several returns, once every rank is done with it."""
        task, calls = await self._submit(method, [args] * self.world, returns=returns)
        await task
        return list(calls[0])

    def kill(self) -> None:
        """End all ranks, whatever they are doing."""
        for handle in self.handles:
            ray.kill(handle)
        self.handles = []

    async def _submit(
        self, method: str, args_by_rank: Sequence[Sequence[Any]], returns: int = 1
    ) -> tuple[asyncio.Task[list[Any]], list[Any]]:
        """The call's task, and its references of every rank."""
        await self.turn.acquire()
        try:
            methods = [getattr(handle, method) for handle in self.handles]
            calls = [
                call.options(num_returns=returns).remote(*args)
                for call, args in zip(methods, args_by_rank, strict=True)
            ]
            refs = calls if returns == 1 else [call[0] for call in calls]
            task = asyncio.create_task(self._results(refs, self.deadline, method))
        except BaseException:
            self.turn.release()
            raise
        task.add_done_callback(self._end_turn)
        return task, calls

    def _end_turn(self, task: asyncio.Task[list[Any]]) -> None:
        self.turn.release()
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not complain if nobody awaits it

    async def _results(
        self, refs: Sequence[ray.ObjectRef], deadline: float, method: str
    ) -> list[Any]:
        waits = [
            asyncio.ensure_future(await_ref(ref, deadline, f"Learner(rank={rank}) in {method}"))
            for rank, ref in enumerate(refs)
        ]
        try:
            return list(await asyncio.gather(*waits))
        except ActorLost as lost:
            raise LearnersLost(lost) from lost
        except ObjectsLost as lost:  # perhaps on one rank only, and the others wait for it
            raise LearnersLost(ActorLost(lost.what, "died", lost.why)) from lost
        finally:
            for wait in waits:
                wait.cancel()
