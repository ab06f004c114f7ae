"""Replicas of one kind of actor that take work as they come free.

      run(job) ──▶ pending ──▶ idle replica ──▶ result ──▶ the caller of `run`
                     ▲               │ lost: the job returns to the front of the queue,
                     └───────────────┘ the replica is spawned again within the budget

A replica has one job at a time, so an idle one is the least loaded. Before each job it adopts the
pool's newest state (`Pool.offer`: the weights of the policy), so no work is done with outdated
weights. A job that takes far longer than others (a straggler) is also given to an idle replica;
the first result counts.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from itertools import chain
from typing import Any

import ray

from actors.fleet.calls import START_DEADLINE, ActorLost, JobLost, await_ref, stream_refs
from actors.fleet.pool.jobs import (
    Adopt,
    CallResult,
    Change,
    Job,
    OnPart,
    Replica,
    Submit,
    end,
    references,
    settle,
    wake,
)
from actors.fleet.pool.losses import MAX_LOSSES, JobLosses, Losses
from actors.fleet.pool.restart_budget import RestartBudget
from medray.config import Config
from medray.errors import MedrayError, RunFailed

JOIN_LATER = 120.0  # seconds after the first is ready: the others may still wait for resources
STRAGGLER = 3.0  # times the median of recent jobs
MIN_STRAGGLER = 5.0  # seconds: shorter jobs are not worth repeating
RECENT = 64  # jobs whose seconds are remembered
PATIENCE, LEAST_PATIENCE = 10.0, 120.0  # times the longest recent job, seconds: for suspects


class Pool:
    """See the module. `kind`: key of the restart budget; `name`: class name of the actors."""

    def __init__(
        self,
        kind: str,
        name: str,
        size: int,
        spawn: Callable[[int], Any],
        budget: RestartBudget,
        adopt: Adopt | None = None,
        *,
        patience: float = LEAST_PATIENCE,
    ) -> None:
        """`patience`: seconds that a suspected job may always take."""
        self.patience = patience
        self.kind, self.name, self.spawn, self.budget = kind, name, spawn, budget
        self.adopt, self.size = adopt, size
        self.may_start: Callable[[], Awaitable[Any]] | None = None  # returns once one may
        self.deadline = budget.config.deadline  # seconds of one call
        self.offered: Any = None
        self.busy_seconds = 0.0  # of all replicas together
        self.repeated = 0  # stragglers given to a second replica
        self._replicas = [Replica(i) for i in range(size)]
        self._pending: deque[Job] = deque()
        self._running: set[Job] = set()
        self._idle: dict[Replica, None] = {}  # in the order in which they came free
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._change = Change()  # a replica becomes ready, adopts a state, or leaves
        self._straggler_task: asyncio.Task[None] | None = None
        self._failure: MedrayError | None = None
        self._started_once = False
        self._losses = Losses(kind, name, budget)

    def start(self) -> None:
        """Spawn all replicas; `wait_ready` returns when they answer."""
        for replica in self._replicas:
            replica.task = asyncio.create_task(self._keep_alive(replica))
        self._straggler_task = asyncio.create_task(self._watch_stragglers())

    async def wait_ready(self, *, everyone: bool = False) -> None:
        """Return when every replica answers; those that wait long for resources join later, unless
        `everyone` is needed.

        Raises RunFailed if none is ready within START_DEADLINE.
        """
        deadline = time.monotonic() + START_DEADLINE
        while not all(replica.ready for replica in self._living()):
            if self.ready and not everyone:
                deadline = min(deadline, time.monotonic() + JOIN_LATER)
            left = deadline - time.monotonic()
            if left <= 0 and self.ready and not everyone:
                return
            if left <= 0:
                raise RunFailed(
                    f"start of {self.name}",
                    f"{self.ready} of {self.size} were ready within {START_DEADLINE:.0f} s",
                    "see the Ray logs and `ray status`",
                )
            await self._change.wait(left)

    @property
    def ready(self) -> int:
        """Replicas that answer."""
        return sum(replica.ready for replica in self._replicas)

    async def run(
        self,
        submit: Submit,
        on_part: OnPart | None = None,
        *,
        limit: int = MAX_LOSSES,
        suspect: bool = False,
    ) -> CallResult:
        """The result of `submit` on the first replica that is free.

        `on_part` gets each part of a call that streams, as it arrives. If the job is repeated,
        `submit` should request only what is missing; otherwise `on_part` gets some parts twice.
        Raises JobLost once the job has lost `limit` replicas. `suspect`: part of a job that was
        given up, so that it gets less time, and is charged nothing.
        """
        self._raise_if_failed()
        future: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()
        job = Job(submit, on_part, future, losses=JobLosses(limit, suspect))
        self._enqueue(job)
        return await job.future

    def offer(self, state: Any) -> None:
        """Have every replica adopt `state` before its next job, and before its first."""
        self.offered = state
        self._wake_idle()

    async def wait_adopted(self, state: Any) -> None:
        """Return when all ready replicas have adopted `state`, or a newer one was offered."""
        while not self._all_have(state):
            self._raise_if_failed()
            await self._change.wait()

    async def each(self, submit: Submit) -> list[Any]:
        """What all ready replicas return, between their jobs; one that fails is replaced."""
        ready = [replica for replica in self._replicas if replica.ready]
        refs = [references(submit(replica.handle, replica.state))[0] for replica in ready]
        calls = [
            await_ref(ref, self.deadline, self._name_of(replica))
            for ref, replica in zip(refs, ready, strict=True)
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        for replica, result in zip(ready, results, strict=True):
            if isinstance(result, MedrayError):
                self._lose(replica, result)
        return [value for value in results if not isinstance(value, BaseException)]

    async def reset(self, config: Config, budget: RestartBudget, patience: float) -> None:
        """Have all replicas begin another run, of which nothing is offered yet.

        Raises RunFailed unless every replica is ready and does: the pool must then be closed.
        """
        self._raise_if_failed()
        if self.ready < self.size or self._running or self._pending:
            raise RunFailed(f"reset of {self.name}", "some are not ready, or still at work")
        self.budget, self.deadline, self.patience = budget, budget.config.deadline, patience
        self._losses = Losses(self.kind, self.name, budget)
        refs = [replica.handle.reset.remote(config) for replica in self._replicas]
        await asyncio.gather(*(await_ref(ref, START_DEADLINE, self.name) for ref in refs))
        self.offered = None
        for replica in self._replicas:
            replica.state = None
        self.busy_seconds, self.repeated = 0.0, 0
        self._recent.clear()

    @property
    def handles(self) -> dict[int, Any]:
        """The actors of the replicas, by their index."""
        return {r.index: r.handle for r in self._replicas if r.handle is not None}

    def leave(self, indices: Collection[int]) -> None:
        """Have these replicas start again, where Ray puts them, once their jobs are done, and at
        once if they still start; whatever they are lost of until then is charged to nobody."""
        for replica in (r for r in self._replicas if r.index in indices):
            replica.leaving = True
            if not replica.ready:
                end(replica)
            wake(replica)

    async def close(self) -> None:
        """End all replicas and the tasks that wait for them."""
        all_tasks = (self._straggler_task, *(replica.task for replica in self._replicas))
        tasks = [task for task in all_tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replica in self._replicas:
            end(replica)

    async def _keep_alive(self, replica: Replica) -> None:
        """Start a replica and feed it jobs; again after each loss, within the budget."""
        who = self._name_of(replica)
        while True:
            try:
                await self._start(replica, who)
                while not replica.leaving:
                    await self._adopt_offered(replica)
                    job = await self._next(replica)
                    if job is not None:
                        await self._serve(replica, job, who)
                raise ActorLost(who, "died", "it leaves with its node")
            except ActorLost as lost:
                starting = not replica.ready
                replica.ready, replica.state = False, None
                end(replica)
                # Ray may start one on a node that has just gone: nobody is to blame for that.
                if replica.leaving or (starting and lost.with_node):
                    replica.leaving = False
                    self.budget.count(self.kind, "drained")
                    self._change.happened()
                    continue
                if lost.cause == "broken" and not self._started_once:
                    self.fail(lost)  # it cannot start: another attempt would end the same way
                    return
                replica.failed_starts += starting
                over = None if starting else replica.losses
                if obstacle := self._losses.obstacle(who, replica.failed_starts, lost, over):
                    self._give_up(replica, obstacle)
                    return
                self._change.happened()
            except MedrayError as error:
                self.fail(error)
                return

    async def _start(self, replica: Replica, who: str) -> None:
        """Spawn the actor; it is ready once it answers and has adopted the offered state."""
        if self.may_start is not None:
            await self.may_start()
        replica.handle = self.spawn(replica.index)
        alive = replica.handle.__ray_ready__.remote()
        while True:
            try:
                await await_ref(alive, START_DEADLINE, who)
                break
            except ActorLost as lost:
                if lost.cause != "stuck" or not self.ready:
                    raise  # else: it waits for resources, and the others can do the work
        await self._adopt_offered(replica)
        replica.ready = self._started_once = True
        replica.failed_starts = 0
        self._change.happened()

    async def _adopt_offered(self, replica: Replica) -> None:
        """Bring the replica to the newest state offered."""
        while replica.state is not self.offered and self.adopt is not None:
            state = self.offered
            await self.adopt(replica.handle, state)
            replica.state = state
            self._change.happened()

    async def _next(self, replica: Replica) -> Job | None:
        """The next job of an idle replica; None if there is a state to adopt first."""
        while self._pending:
            job = self._pending.popleft()
            if not job.future.done():
                return job
        replica.next_job = asyncio.get_running_loop().create_future()
        self._idle[replica] = None
        try:
            return await replica.next_job
        finally:
            replica.next_job = None
            self._idle.pop(replica, None)

    async def _serve(self, replica: Replica, job: Job, who: str) -> None:
        """Do one job; if the replica is lost, the job returns to the front of the queue."""
        self._running.add(job)
        try:
            await self._adopt_offered(replica)
            start = time.monotonic()
            job.start = job.start or start
            value, refs = await self._result(job, replica, who)
        except ActorLost as lost:
            if not replica.leaving:
                job.losses.add(lost)
            replica.losses = job.losses
            if job.losses.too_many:
                self._losses.job_given_up(job.losses)
                settle(job, error=JobLost(lost.what, lost.cause, lost.why))
            elif not job.future.done():
                job.start, job.repeated = 0.0, False
                self._enqueue(job, first=True)
            raise
        except MedrayError as error:
            settle(job, error=error)
        else:
            until = time.monotonic()
            self._losses.job_done()
            self._recent.append(until - start)
            self.busy_seconds += until - start
            settle(job, CallResult(value, refs, start, until))
        finally:
            self._running.discard(job)

    async def _result(
        self, job: Job, replica: Replica, who: str
    ) -> tuple[Any, list[ray.ObjectRef]]:
        """What the call returns; nothing if it streams."""
        returned, deadline = job.submit(replica.handle, replica.state), self.deadline
        if job.losses.suspect and self._recent:
            deadline = min(deadline, max(self.patience, PATIENCE * max(self._recent)))
        if not isinstance(returned, ray.ObjectRefGenerator):
            refs = references(returned)
            return await await_ref(refs[0], deadline, who), refs
        async for part in stream_refs(returned, deadline, who):
            self._losses.part_done()
            if job.on_part is not None:
                job.on_part(part)
        return None, []

    def _enqueue(self, job: Job, *, first: bool = False) -> None:
        while self._idle:
            replica = next(iter(self._idle))
            del self._idle[replica]
            waiting = replica.next_job
            if waiting is not None and not waiting.done():
                waiting.set_result(job)
                return
        self._pending.appendleft(job) if first else self._pending.append(job)

    async def _watch_stragglers(self) -> None:
        """Give jobs that take far too long to an idle replica as well."""
        while True:
            await asyncio.sleep(1.0)
            if not (self._idle and self._recent) or self._pending:
                continue
            limit = max(MIN_STRAGGLER, STRAGGLER * statistics.median(self._recent))
            now = time.monotonic()
            for job in list(self._running):
                if self._idle and job.start and not job.repeated and now - job.start > limit:
                    job.repeated = True
                    self.repeated += 1
                    self._enqueue(job)

    def _lose(self, replica: Replica, error: MedrayError) -> None:
        """End a replica that failed between its jobs; a job that it has fails by itself."""
        lost = error
        if not isinstance(error, ActorLost):
            lost = ActorLost(self._name_of(replica), "broken", str(error))
        end(replica)
        if replica.next_job is not None and not replica.next_job.done():
            replica.next_job.set_exception(lost)

    def _name_of(self, replica: Replica) -> str:
        return f"{self.name}(replica={replica.index})"

    def _wake_idle(self) -> None:
        for replica in list(self._idle):
            wake(replica)
        self._idle.clear()

    def _all_have(self, state: Any) -> bool:
        """Whether all ready replicas, at least one, have `state`, or a newer one was offered."""
        if self.offered is not state:
            return True
        ready = (replica for replica in self._replicas if replica.ready)
        first = next(ready, None)  # a loop that ends early: it runs once for each that adopts
        return first is not None and all(r.state is state for r in chain([first], ready))

    def _living(self) -> list[Replica]:
        self._raise_if_failed()
        return [r for r in self._replicas if r.task is not None and not r.task.done()]

    def _give_up(self, replica: Replica, error: RunFailed) -> None:
        """Continue with the other replicas; without any, the pool fails."""
        others = [r for r in self._living() if r is not replica]
        if others:
            self._change.happened()
        else:
            self.fail(error)

    def fail(self, error: MedrayError) -> None:
        """End all jobs, and refuse later ones."""
        self._failure = self._failure or error
        for job in [*self._pending, *self._running]:
            settle(job, error=error)
        self._change.happened()

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure
