"""The loop of a run, on one screen.

    cases ──load──▶ items ──generate──▶ responses ──edit──▶ pairs + batch ──learn──▶ report
      ▲               (Generator: vLLM)          (Editor)       (Learner: DeepSpeed)    │
      └────────────── version n+1 ◀── weights over the object store ◀───────────────────┘

Step n trains policy version n-1 into version n. With `loop.max_lag` above 0 the parts overlap:

part               produces                     waits for                 unblocked by
RolloutPrefetcher  the rollout of step s        step s-1-max_lag          `start_allowed`
Fleet.learn        version n, the step's report the rollout of step s     `wait_for`
Evaluator          the figures of version n-1   the rollout of step s     `begin_postponed`
WeightSync         version n in the generators  every rank's export,      generators adopting it
                                                the evaluation before
MetricsWriter      the step's row of metrics    its weight update         `flush`, at the next step
Recovery           a checkpoint                 the row before it         `loop.checkpoint_every`

Records and references pass through here; pixels and tensors do not. What became of every item is in
the ledger before the next step begins.
"""

from __future__ import annotations

import asyncio

from actors.fleet import BrokenCases, Fleet, LearnersLost, Rollouts
from actors.loop.canaries import pick_canaries
from actors.loop.departures import Departures
from actors.loop.evaluation import Evaluator
from actors.loop.metrics import MetricsWriter
from actors.loop.milestones import Milestones
from actors.loop.recovery import Recovery
from actors.loop.step import Progress, StepClock, learn
from actors.loop.stop import Stop
from actors.loop.telemetry import Telemetry
from actors.loop.weight_sync import WeightSync
from actors.weights.checkpoint import State
from medray.errors import DiskFault, RunFailed, StoppedOnRequest
from medray.plan import Plan
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


class Driver:
    """Runs a plan on a fleet."""

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet,
        run: RunDirectory,
        telemetry: Telemetry,
        console: RunConsole,
        stop: Stop | None = None,
    ) -> None:
        self.plan, self.config, self.fleet, self.console = plan, plan.config, fleet, console
        self.rollouts = Rollouts(fleet, BrokenCases(run.broken_cases))
        self.sync = WeightSync(fleet)
        self.metrics = MetricsWriter(run, telemetry, console)
        self.stop = (stop or Stop(self.config.faults.stop_within)).of_run()
        self.evaluator = Evaluator(plan, self.rollouts, run, telemetry, console)
        self.recovery = Recovery(
            plan, self.rollouts, run, self.sync, self.metrics, self.evaluator, console
        )
        self.milestones = Milestones(self.recovery, self.evaluator, self.stop)
        self.departures = Departures(fleet, self.recovery, self.stop, console.say)
        self.progress = Progress()

    @property
    def state(self) -> State:
        return self.recovery.state

    async def run(self, *, resume: bool) -> None:
        """From step 1, or from the newest checkpoint, to the last step."""
        try:
            async with self.departures.watched():
                await self.stop.cancel_on_stop(self._begin(resume=resume))
                while self.state.step < self.config.loop.steps:
                    try:
                        self.stop.check()
                        await self._step(self.state.step + 1)
                    except LearnersLost as lost:
                        await self.stop.cancel_on_stop(self._begin_again(lost))
        except StoppedOnRequest:
            raise await self.recovery.stopped(self.stop) from None
        except RunFailed as failed:
            if not isinstance(failed, LearnersLost | DiskFault):
                await self.recovery.checkpoint_before_exit()
            raise
        finally:
            await self.recovery.abandon()

    async def _begin(self, *, resume: bool) -> None:
        if heldout := self.plan.dataset.heldout:
            self.fleet.canaries = await pick_canaries(self.rollouts, heldout)
        try:
            await self.stop.interruptible(self._restore_or_start(resume=resume))
        except LearnersLost as lost:
            await self._begin_again(lost)

    async def _begin_again(self, lost: LearnersLost) -> None:
        """Replace learners that are lost or leave, and return to the newest checkpoint."""
        await self.departures.replace_learners(
            lost, lambda: self._restore_or_start(resume=True, again=True)
        )

    async def _restore_or_start(self, *, resume: bool, again: bool = False) -> None:
        if resume and await self.recovery.restore():
            await self.milestones.pass_due()
            return
        self.recovery.start_over(resume=resume, again=again)
        if again:
            self.console.say("starting over: there is no checkpoint yet")
        if self.plan.generates and (again or self.config.model.adapter is not None):
            await self.fleet.learners_ready()
            await self.sync.send_and_wait()  # generators have other weights, or no adapter yet
        await self.milestones.evaluate()

    async def _step(self, step: int) -> None:
        """Learn from one rollout, send the weights, do what is due."""
        clock, on_policy = StepClock(), self.config.loop.max_lag == 0
        prefetcher = self.recovery.prefetcher
        assert prefetcher is not None
        prefetcher.start_allowed(self.state)
        rollout = await self.stop.interruptible(prefetcher.wait_for(step))
        self.evaluator.begin_postponed()
        with clock.paused():
            await self.stop.interruptible(self.fleet.learners_ready())
        with self.recovery.changing_learners():
            learning = learn(self.fleet, self.recovery.ledger, rollout, self.state)
            report, row, state = await self.stop.until_deadline(learning)
            with clock.paused():
                await self.stop.briefly(self.evaluator.finished())
            self.recovery.state = state
        pending = self.metrics.hold(row | {"t_step": clock.seconds})
        await self.stop.briefly(self.metrics.flush())  # the row before
        changed = self.recovery.next_rollout_reads_weights and not report.skipped
        pending.sync = await self.stop.until_deadline(self.sync.send(changed=changed))
        prefetcher.start_allowed(self.state)
        if on_policy:
            await self.stop.briefly(asyncio.shield(pending.sync))
        pending.row["t_step"] = clock.seconds
        self.progress.require(self.state.step, report)
        await self.milestones.pass_due()
        if on_policy:
            await self.metrics.flush()
