"""The learner's ranks as one: they start, work and die together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import ray

from actors.fleet.calls import START_DEADLINE, ActorLost, ObjectsLost, answer
from medray.errors import RunFailed


class RanksLost(RunFailed):
    """The learners are gone; a run can return to its newest checkpoint."""

    def __init__(self, lost: ActorLost) -> None:
        super().__init__(lost.what, lost.why, lost.todo)
        self.lost = lost


class Ranks:
    """Every call goes to each rank and is answered by all, or the group is lost.

    Ranks wait for each other within a call, so after a failure of one the others are stuck in
    it: none of them is used any more.
    """

    def __init__(self, spawn: Callable[[int], Any], world: int, deadline: float) -> None:
        self.spawn, self.world, self.deadline = spawn, world, deadline
        self.handles: list[Any] = []
        self.turn = asyncio.Lock()  # a deadline counts from where the ranks begin

    async def start(self) -> None:
        """Spawn, meet, and load the model."""
        self.handles = [self.spawn(rank) for rank in range(self.world)]
        meet = self.handles[0].rendezvous.remote()
        (address, port), *_ = await self._answers([meet], START_DEADLINE, "start")
        joined = [handle.join.remote(address, port) for handle in self.handles]
        await self._answers(joined, START_DEADLINE, "start")

    async def call(self, method: str, *args: Any) -> list[Any]:
        """What `method` returns, rank by rank."""
        return await (await self.begin(method, *args))

    async def begin(self, method: str, *args: Any) -> asyncio.Task[list[Any]]:
        """Send the call once its turn has come; the task ends with what it returns.

        A later call waits for the end of this one, whether or not anybody awaits the task.
        """
        await self.turn.acquire()
        try:
            refs = [getattr(handle, method).remote(*args) for handle in self.handles]
            task = asyncio.create_task(self._answers(refs, self.deadline, method))
        except BaseException:
            self.turn.release()
            raise
        task.add_done_callback(self._end_turn)
        return task

    async def references(self, method: str, *args: Any, returns: int) -> list[ray.ObjectRef]:
        """Rank 0's references of a method with several returns, once every rank is through it."""
        async with self.turn:
            calls = [
                getattr(handle, method).options(num_returns=returns).remote(*args)
                for handle in self.handles
            ]
            await self._answers([call[0] for call in calls], self.deadline, method)
        return list(calls[0])

    def kill(self) -> None:
        """End all ranks, whatever they are doing."""
        for handle in self.handles:
            ray.kill(handle)
        self.handles = []

    def _end_turn(self, task: asyncio.Task[list[Any]]) -> None:
        self.turn.release()
        if not task.cancelled():
            task.exception()  # known from now on: a task nobody awaits is not complained about

    async def _answers(
        self, refs: Sequence[ray.ObjectRef], deadline: float, method: str
    ) -> list[Any]:
        waits = [
            asyncio.ensure_future(answer(ref, deadline, f"Learner(rank={rank}) in {method}"))
            for rank, ref in enumerate(refs)
        ]
        try:
            return list(await asyncio.gather(*waits))
        except ActorLost as lost:
            raise RanksLost(lost) from lost
        except ObjectsLost as lost:  # perhaps on one rank only, and the others wait for it
            raise RanksLost(ActorLost(lost.what, "died", lost.why)) from lost
        finally:
            for wait in waits:
                wait.cancel()
