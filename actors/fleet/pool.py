"""Replicas of one kind of actor that take work as they come free.

      run(job) ──▶ pending ──▶ idle replica ──▶ answer ──▶ whoever waits for the job
                     ▲               │ lost: the job goes back to the front,
                     └───────────────┘ the replica is spawned again within the budget

A replica has one job at a time, so the one that is free is the least loaded. Before each job
it takes over the pool's newest state (`Pool.offer`; the weights of the policy), so work is never
done with what is out of date. A job that takes far longer than others is given to an idle
replica as well; the first answer counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from actors.fleet.calls import START_DEADLINE, ActorLost, answer, parts
from actors.fleet.restarts import Faults
from medray.errors import MedrayError, RunFailed

JOIN_LATER = 120.0  # seconds after the first is ready: the others may still wait for room
STRAGGLER = 3.0  # times the median of recent jobs
STRAGGLER_LEAST = 5.0  # seconds: shorter jobs are not worth doing twice
RECENT = 64  # jobs whose seconds are remembered
BREAKS = 2  # replicas that one job may break

# (handle, what the replica holds) → the call's reference(s), or what it yields
Submit = Callable[[Any, Any], ray.ObjectRef | Sequence[ray.ObjectRef] | ray.ObjectRefGenerator]
Came = Callable[[Any], None]
TakeOver = Callable[[Any, Any], Awaitable[None]]  # (handle, the state offered)


@dataclass(slots=True)
class Answer:
    """What a job's call returned: its (first) value, all references, and when (seconds).

    Of a call that yields there is only when: `Pool.run` has handed over what came.
    """

    value: Any
    refs: list[ray.ObjectRef]
    began: float
    ended: float


@dataclass(slots=True, eq=False)
class _Job:
    submit: Submit
    came: Came | None
    future: asyncio.Future[Answer]
    began: float = 0.0
    twice: bool = False
    broke: int = 0


@dataclass(slots=True, eq=False)
class _Replica:
    index: int
    handle: Any = None
    holds: Any = None  # of what was offered
    ready: bool = False
    turn: asyncio.Future[_Job | None] | None = None  # while idle
    life: asyncio.Task[None] | None = None


class Pool:
    """See the module. `kind` is the key of its restart budget, `name` the actors' class name."""

    def __init__(
        self,
        kind: str,
        name: str,
        size: int,
        spawn: Callable[[int], Any],
        faults: Faults,
        take_over: TakeOver | None = None,
    ) -> None:
        self.kind, self.name, self.spawn, self.faults = kind, name, spawn, faults
        self.take_over = take_over
        self.offered: Any = None
        self.busy = 0.0  # seconds of all replicas at work
        self.repeated = 0  # jobs given to a second replica
        self._replicas = [_Replica(i) for i in range(size)]
        self._pending: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._idle: deque[_Replica] = deque()
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._changed = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._failure: MedrayError | None = None
        self._answered_once = False

    def start(self) -> None:
        """Spawn all replicas; `wait_ready` says when they answer."""
        for replica in self._replicas:
            replica.life = asyncio.create_task(self._live(replica))
        self._watch = asyncio.create_task(self._watch_stragglers())

    async def wait_ready(self) -> None:
        """Return when every replica answers; those that find no room for long join later.

        Raises RunFailed where none is ready within START_DEADLINE.
        """
        deadline = time.monotonic() + START_DEADLINE
        while not all(replica.ready for replica in self._living()):
            if self.ready:
                deadline = min(deadline, time.monotonic() + JOIN_LATER)
            left = deadline - time.monotonic()
            if left <= 0 and self.ready:
                return
            if left <= 0:
                raise RunFailed(
                    f"start of {self.name}",
                    f"none was ready within {START_DEADLINE:.0f} s",
                    "see the Ray logs and `ray status`",
                )
            await self._change(left)

    @property
    def ready(self) -> int:
        """Replicas that answer."""
        return sum(replica.ready for replica in self._replicas)

    async def run(self, submit: Submit, came: Came | None = None) -> Answer:
        """The answer to `submit` by whichever replica comes free.

        `came` is handed each part of a call that yields, at once. Where the job is done again,
        `submit` asks for what is missing, or `came` is told some of it twice.
        """
        self._raise_if_failed()
        job = _Job(submit, came, asyncio.get_running_loop().create_future())
        self._enqueue(job)
        return await job.future

    def offer(self, state: Any) -> None:
        """Have every replica take over `state` before its next job, and before its first."""
        self.offered = state
        self._wake_idle()

    async def taken_over(self, state: Any) -> None:
        """Return when those that answer hold `state`, or something newer was offered."""
        while not self._all_hold(state):
            self._raise_if_failed()
            await self._change()

    async def each(self, submit: Submit) -> list[Any]:
        """The answers of all replicas that are ready, between their jobs; the lost are left out."""
        ready = [replica for replica in self._replicas if replica.ready]
        deadline = self.faults.config.deadline
        calls = [answer(_refs(submit(r.handle, r.holds))[0], deadline, self.name) for r in ready]
        told = await asyncio.gather(*calls, return_exceptions=True)
        return [value for value in told if not isinstance(value, BaseException)]

    async def close(self) -> None:
        """End all replicas and whoever waits for them."""
        tasks = [t for t in (self._watch, *(r.life for r in self._replicas)) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replica in self._replicas:
            _kill(replica)

    async def _live(self, replica: _Replica) -> None:
        """One replica's life: start, take over, work; again after each loss."""
        who = f"{self.name}(replica={replica.index})"
        while True:
            try:
                await self._begin(replica, who)
                while True:
                    await self._take_over(replica)
                    job = await self._next(replica)
                    if job is not None:
                        await self._serve(replica, job, who)
            except ActorLost as lost:
                replica.ready, replica.holds = False, None
                _kill(replica)
                if lost.cause == "broken" and not self._answered_once:
                    self._fail(lost)  # it cannot start: another try would end the same
                    return
                if not self.faults.allows(self.kind, who, lost):
                    self._retire(replica, lost)
                    return
                self._pulse()
            except MedrayError as error:
                self._fail(error)
                return

    async def _begin(self, replica: _Replica, who: str) -> None:
        """Spawn the actor; it counts as ready once it answers and holds what was offered."""
        replica.handle = self.spawn(replica.index)
        alive = replica.handle.__ray_ready__.remote()
        while True:
            try:
                await answer(alive, START_DEADLINE, who)
                break
            except ActorLost as lost:
                if lost.cause != "stuck" or not self.ready:
                    raise  # else: no room for it at present, and the others can do the work
        await self._take_over(replica)
        replica.ready = self._answered_once = True
        self._pulse()

    async def _take_over(self, replica: _Replica) -> None:
        """Bring the replica to the newest state offered."""
        while replica.holds is not self.offered and self.take_over is not None:
            state = self.offered
            await self.take_over(replica.handle, state)
            replica.holds = state
            self._pulse()

    async def _next(self, replica: _Replica) -> _Job | None:
        """The next job for an idle replica; None where there is something to take over first."""
        while self._pending:
            job = self._pending.popleft()
            if not job.future.done():
                return job
        replica.turn = asyncio.get_running_loop().create_future()
        self._idle.append(replica)
        try:
            return await replica.turn
        finally:
            replica.turn = None
            with contextlib.suppress(ValueError):
                self._idle.remove(replica)

    async def _serve(self, replica: _Replica, job: _Job, who: str) -> None:
        """Do one job; where the replica is lost over it, the job goes back to the front."""
        self._running.add(job)
        try:
            await self._take_over(replica)
            began = time.monotonic()
            job.began = job.began or began
            value, refs = await self._result(job, replica, who)
        except ActorLost as lost:
            job.broke += lost.cause == "broken"
            if job.broke >= BREAKS:
                _settle(job, error=lost)
            elif not job.future.done():
                job.began, job.twice = 0.0, False
                self._enqueue(job, first=True)
            raise
        except MedrayError as error:
            _settle(job, error=error)
        else:
            ended = time.monotonic()
            self._recent.append(ended - began)
            self.busy += ended - began
            _settle(job, Answer(value, refs, began, ended))
        finally:
            self._running.discard(job)

    async def _result(
        self, job: _Job, replica: _Replica, who: str
    ) -> tuple[Any, list[ray.ObjectRef]]:
        """What the call returns, or nothing where it yields."""
        called, deadline = job.submit(replica.handle, replica.holds), self.faults.config.deadline
        if not isinstance(called, ray.ObjectRefGenerator):
            refs = _refs(called)
            return await answer(refs[0], deadline, who), refs
        async for part in parts(called, deadline, who):
            if job.came is not None:
                job.came(part)
        return None, []

    def _enqueue(self, job: _Job, *, first: bool = False) -> None:
        while self._idle:
            turn = self._idle.popleft().turn
            if turn is not None and not turn.done():
                turn.set_result(job)
                return
        self._pending.insert(0, job) if first else self._pending.append(job)

    async def _watch_stragglers(self) -> None:
        """Give what takes far too long to someone who has nothing to do."""
        while True:
            await asyncio.sleep(1.0)
            if not (self._idle and self._recent) or self._pending:
                continue
            limit = max(STRAGGLER_LEAST, STRAGGLER * statistics.median(self._recent))
            now = time.monotonic()
            for job in list(self._running):
                if self._idle and job.began and not job.twice and now - job.began > limit:
                    job.twice = True
                    self.repeated += 1
                    self._enqueue(job)

    def _wake_idle(self) -> None:
        for replica in list(self._idle):
            if replica.turn is not None and not replica.turn.done():
                replica.turn.set_result(None)
        self._idle.clear()

    def _all_hold(self, state: Any) -> bool:
        """Whether those that answer hold `state` or something newer, at least one of them."""
        if self.offered is not state:
            return True
        ready = [replica for replica in self._replicas if replica.ready]
        return bool(ready) and all(replica.holds is state for replica in ready)

    def _living(self) -> list[_Replica]:
        self._raise_if_failed()
        return [r for r in self._replicas if r.life is not None and not r.life.done()]

    def _retire(self, replica: _Replica, lost: ActorLost) -> None:
        """Go on with the others; where there are none, nobody will answer any more."""
        others = [r for r in self._living() if r is not replica]
        if others:
            self._pulse()
        else:
            self._fail(RunFailed(f"no {self.name} is left", str(lost), f"raise faults.{self.kind}"))

    def _fail(self, error: MedrayError) -> None:
        self._failure = self._failure or error
        for job in [*self._pending, *self._running]:
            _settle(job, error=error)
        self._pulse()

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self, timeout: float | None = None) -> None:
        """Until a replica becomes ready, takes over, or leaves."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()


def _settle(job: _Job, result: Answer | None = None, error: MedrayError | None = None) -> None:
    """The first outcome counts."""
    if job.future.done():
        return
    if error is not None:
        job.future.set_exception(error)
    else:
        assert result is not None
        job.future.set_result(result)


def _refs(returned: ray.ObjectRef | Sequence[ray.ObjectRef]) -> list[ray.ObjectRef]:
    return [returned] if isinstance(returned, ray.ObjectRef) else list(returned)


def _kill(replica: _Replica) -> None:
    if replica.handle is not None:
        ray.kill(replica.handle)
        replica.handle = None
