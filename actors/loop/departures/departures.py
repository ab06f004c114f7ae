"""Has a run go on, or stop with a checkpoint, when nodes leave that its actors are on.

One question to the GCS every two seconds, whatever the size of the cluster; all else only once
there is an answer. Generators, editors and language models start again elsewhere after their
present jobs, beside the loop. Learners leave together: the loop is interrupted where it waits for
others, writes a checkpoint, and goes on from it with new ones. A step that is being learnt ends
first. What still loads as the run starts holds nothing, and begins anew elsewhere at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from actors.fleet import Fleet, LearnersLost
from actors.fleet.calls import ActorLost
from actors.fleet.growth import Bundles, has_room, room_in_time
from actors.head.draining import draining_nodes, free_resources, node_of, vital_nodes
from actors.loop.departures.affected import Affected, find_affected
from actors.loop.departures.decision import Notice, decide, describe
from actors.loop.recovery import Recovery
from actors.loop.stop import Stop
from medray.errors import DiskFault, ResourceError, RunFailed, brief

T = TypeVar("T")
LOOK = 2.0  # seconds between two questions; a notice is of 30 seconds or more


class LearnersLeave(LearnersLost):
    """The learners are well, and on nodes that leave."""


class Departures:
    """Of one run. `say` prints one line."""

    def __init__(
        self, fleet: Fleet, recovery: Recovery, stop: Stop, say: Callable[[str], None]
    ) -> None:
        self.fleet, self.recovery, self.stop, self.say = fleet, recovery, stop, say
        self.leaving: dict[str, float] = {}  # all such nodes, as far as they are known
        self.learners_leave: Notice | None = None  # until they are replaced
        self._needs: Bundles = []  # what has to find room before they can be, if that may take long
        self._waiting: set[asyncio.Task[None]] = set()  # for nodes
        self._is_watching = False

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Within it, departures are noticed and dealt with; once is enough."""
        if self._is_watching:
            yield
            return
        self._is_watching = True
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            tasks = [watch, *self._waiting]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._is_watching = False
            self.fleet.room.set()  # for another run on these actors

    async def replace_learners(
        self, lost: LearnersLost, begin: Callable[[], Awaitable[None]]
    ) -> None:
        """New learners instead of those that are lost or leave, then `begin`.

        Raises LearnersLost when the budget is exhausted.
        """

        async def start() -> None:
            await self.stop.interruptible(begin())

        while True:
            try:
                if self.learners_leave is not None:
                    return await self._move_learners(self.learners_leave, start)
                return await self.recovery.replace_learners(lost, start)
            except LearnersLost as again:
                if again is lost and self.learners_leave is None:
                    raise
                lost = again

    async def _watch(self) -> None:
        seen = True
        while True:
            try:
                await self._look()
            except Exception as error:  # Ray's, of any kind: the run goes on without a warning
                if seen:
                    self.say(f"nodes that leave are not seen for now: {brief(error)}")
                seen = False
            else:
                seen = True
            await asyncio.sleep(LOOK)

    async def _look(self) -> None:
        nodes = await _in_thread(draining_nodes)
        new = {node: until for node, until in nodes.items() if node not in self.leaving}
        self.leaving = nodes
        if not new:
            return
        try:
            await self._answer(Notice(new))
        except Exception:
            self.leaving = {node: nodes[node] for node in nodes if node not in new}  # once more
            raise

    async def _answer(self, notice: Notice) -> None:
        """Decide, say so, and do it."""
        vital = await _in_thread(vital_nodes)
        why = next((why for node, why in vital.items() if node in notice.nodes), "")
        found = await _in_thread(lambda: find_affected(self.fleet, notice.nodes, node_of))
        fits = await _in_thread(lambda: self._has_room(found))
        decision = decide(
            found,
            vital=bool(why),
            colocated=self.fleet.placement_group.shared,
            fits=fits,
            may_grow=self.fleet.config.faults.nodes_within > 0,
        )
        if decision == "nothing":
            return
        why = why or ("no other node has room for it" if not fits else "its actors share GPUs")
        load = self.fleet.learners_start.pending
        self.say(describe(notice, found, decision, why, saved=not load))
        if decision == "stop":
            self.stop.request(f"{notice}, and {why}", notice.seconds_left())
            return
        if found.ranks or decision == "wait":
            self.fleet.room.clear()
        needs = found.needs if decision == "wait" else []
        if found.ranks and load:
            self.fleet.learners_start.begin_elsewhere(lambda: self._wait_for_room(notice, needs))
            self._move_replicas(found)
            return
        self._move_replicas(found)
        if found.ranks:
            self.learners_leave, self._needs = notice, needs
            lost = ActorLost("Learner", "died", str(notice))
            self.stop.interrupt(LearnersLeave(lost))
        elif decision == "wait":
            waiting = asyncio.create_task(self._wait(notice, found))
            self._waiting.add(waiting)
            waiting.add_done_callback(self._waiting.discard)

    def _has_room(self, found: Affected) -> bool:
        """Whether other nodes have a place for what cannot do without one."""
        free = free_resources(self.leaving)
        for node, bundle in found.staying:
            for name, amount in bundle.items():
                has = free.setdefault(node, {})
                has[name] = has.get(name, 0.0) + amount
        return has_room(found.needs, free.values())

    def _move_replicas(self, found: Affected) -> None:
        for pool in self.fleet.pools:
            pool.leave(found.replicas.get(pool.name, ()))
        self.fleet.models.leave(found.models)

    async def _wait(self, notice: Notice, found: Affected) -> None:
        """Wait for a node for replicas that have none; the run stops if none comes."""
        await self._wait_for_room(notice, found.needs)
        if self.learners_leave is None:
            self.fleet.room.set()

    async def _wait_for_room(self, notice: Notice, needs: Bundles) -> None:
        within = self.fleet.config.faults.nodes_within
        found = await room_in_time(
            self.fleet.config,
            needs,
            lambda: free_resources(self.leaving).values(),
            generators=self.fleet.generators.size > 0,
        )
        if not found:
            self._stop_without_room(
                notice, f"no node came within faults.nodes_within = {within:g} s"
            )

    async def _move_learners(self, notice: Notice, begin: Callable[[], Awaitable[None]]) -> None:
        """A checkpoint, if there is still somebody to write it; new learners on other nodes."""
        self.stop.resume()
        try:
            await self._save(notice)
        finally:
            self.recovery.learners_consistent = False
        await self.recovery.abandon()
        self.fleet.dismiss_learners()
        await self._wait_for_room(notice, self._needs)
        self.stop.check()
        self.learners_leave = None
        try:
            await self.fleet.restart_learners()
        except ResourceError as short:
            self._stop_without_room(notice, short.why)
            self.stop.check()
        await begin()

    async def _save(self, notice: Notice) -> None:
        """A checkpoint of the last finished step, unless there is one."""
        step = self.recovery.state.step
        try:
            await self.recovery.save_last_step()
        except DiskFault:
            raise
        except RunFailed as failed:
            self.say(f"no checkpoint of step {step} ({failed})")
            return
        if step and self.recovery.last_saved_step == step:
            left = notice.seconds_left()
            before = f", {left:.0f} s before the node ends" if left else ""
            self.say(f"checkpoint of step {step} written{before}")

    def _stop_without_room(self, notice: Notice, why: str) -> None:
        self.stop.request(f"{notice}, and {why}")


async def _in_thread(ask: Callable[[], T]) -> T:
    """What `ask` returns. Its thread is never left behind: Ray may be about to shut down."""
    asking = asyncio.create_task(asyncio.to_thread(ask))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait({asking})
        raise
