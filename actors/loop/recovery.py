"""Where a run is, and its way back there: checkpoints, restoring, starting over, ending early."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Iterator

from actors.fleet import Fleet, LearnersLost, Rollouts
from actors.loop.blocks import Blocks
from actors.loop.evaluation import Evaluator
from actors.loop.metrics import MetricsWriter
from actors.loop.prefetch import RolloutPrefetcher
from actors.loop.stop import Stop
from actors.loop.weight_sync import WeightSync
from actors.weights import checkpoint
from actors.weights.checkpoint import State
from medray.errors import MedrayError, RunFailed, StoppedOnRequest
from medray.evaluation.metrics import LOWER_IS_BETTER
from medray.files import disk_fault
from medray.kept_answers import KeptAnswers
from medray.ledger import Ledger
from medray.objectives import answers_needed
from medray.plan import Plan
from medray.report.console import RunConsole
from medray.rundir import RunDirectory

ARRIVE = 1.0  # seconds that weights on their way get before a run ends or learners leave
START = State(step=0, policy_version=0, position=0)


class Recovery:
    """The run's state, ledger and running rollouts, opened and closed together."""

    def __init__(
        self,
        plan: Plan,
        rollouts: Rollouts,
        run: RunDirectory,
        sync: WeightSync,
        metrics: MetricsWriter,
        evaluator: Evaluator,
        console: RunConsole,
    ) -> None:
        self.plan, self.rollouts, self.run_dir = plan, rollouts, run
        self.sync, self.metrics, self.evaluator, self.console = sync, metrics, evaluator, console
        self.state = START
        self.last_saved_step = 0
        self.learners_consistent = False  # whether the learners have exactly what `state` says
        self.blocks = Blocks(plan.config.loop, rollouts, KeptAnswers(run.answers))
        self.ledger: Ledger
        self.prefetcher: RolloutPrefetcher | None = None

    @property
    def fleet(self) -> Fleet:
        return self.rollouts.fleet

    @property
    def saved(self) -> bool:
        """Whether the present step has a checkpoint."""
        return self.last_saved_step == self.state.step

    @property
    def next_rollout_reads_weights(self) -> bool:
        """Whether what the step just learnt is read by the generators before it is learnt on."""
        if not answers_needed(self.plan.config):
            return False
        online = self.plan.config.loop.resample_every == 1
        return online or self.blocks.begins_after(self.state.step)

    def start_over(self, *, resume: bool, again: bool) -> None:
        """Begin at step 0, without anything that an earlier attempt wrote.

        `again`: within this run, whose evaluation of step 0 is still valid.
        """
        self.state = START
        self.run_dir.rewind(0 if again else -1)
        self._open_ledger(resume=resume)

    async def restore(self) -> bool:
        """Return to the newest valid checkpoint; False if there is none."""
        found = await asyncio.to_thread(checkpoint.newest, self.run_dir.checkpoints)
        if found is None:
            return False
        path, self.state, skipped = found
        for reason in skipped:
            self.console.say(f"skipped checkpoint {reason}")
        self.last_saved_step = self.state.step
        self.run_dir.rewind(self.state.step)
        self._open_ledger(resume=True)
        await self.fleet.learners_ready()
        version = await self.fleet.restore(str(path / "learner"))
        if version != self.state.policy_version:
            why = f"its learner has version {version}, its state {self.state.policy_version}"
            raise RunFailed(str(path), why, "delete this checkpoint")
        if self.plan.generates:
            await self.sync.send_and_wait()
        self.console.say(f"continuing from {path.name}, policy version {version}")
        return True

    async def replace_learners(
        self, lost: LearnersLost, begin: Callable[[], Awaitable[None]]
    ) -> None:
        """New learners instead of lost ones, then `begin`, if the budget allows it.

        Raises `lost` otherwise, and LearnersLost if they are lost again.
        """
        self.learners_consistent = False
        await self.abandon()
        if not self.fleet.budget.spend("learner", lost.what, lost.lost):
            raise lost
        await self.fleet.restart_learners()
        await begin()

    @contextlib.contextmanager
    def changing_learners(self) -> Iterator[None]:
        """Within it the learners may have more than `state` says."""
        self.learners_consistent = False
        yield
        self.learners_consistent = True

    async def checkpoint(self) -> None:
        """Write a checkpoint of the last finished step: learners, weights and position.

        Without success it leaves nothing behind.
        """
        state = self.state
        self.run_dir.require_lock()
        self.run_dir.checkpoints.stat()  # if it has vanished, it must not come back half empty
        update = await self.sync.update_of(state.policy_version)
        draft = checkpoint.begin(self.run_dir.checkpoints, state)
        try:
            await self.fleet.save(str(draft / "learner"))
            manifest, shards = await self.fleet.fetch(update)
            await asyncio.to_thread(
                checkpoint.publish,
                draft,
                state,
                manifest,
                shards,
                keep=self.plan.config.loop.keep_checkpoints,
                best=self._best_step(),
            )
        except Exception:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        self.last_saved_step = state.step

    async def abandon(self) -> None:
        """Give up running rollouts, and what belongs to a step that will be repeated: its metrics,
        the evaluation beside it."""
        if self.prefetcher is not None:
            await self.prefetcher.cancel()
        await self.evaluator.cancel()
        await self.metrics.drop()

    async def stopped(self, stop: Stop) -> StoppedOnRequest:
        """Write a checkpoint in the time that is left; returns what to raise."""
        step, why = self.state.step, stop.why
        try:
            async with asyncio.timeout(stop.seconds_left):
                await self.save_last_step()
        except TimeoutError:
            why += (
                f", no checkpoint within faults.stop_within = {stop.within:g} s"
                if stop.within == self.plan.config.faults.stop_within
                else f", no checkpoint within {stop.within:.0f} s"
            )
        except (RunFailed, OSError) as failed:
            why += f", no checkpoint ({disk_fault(failed) or failed})"
        if self.last_saved_step != step and self.last_saved_step:
            why += f"; the newest checkpoint is of step {self.last_saved_step}"
        return StoppedOnRequest(f"stopped after step {step}", why, "continue with --resume")

    async def checkpoint_before_exit(self) -> None:
        """A last checkpoint if the learners are still alive; the error to report is another one."""
        before = self.last_saved_step
        with contextlib.suppress(MedrayError, OSError):
            await self.save_last_step()
        if self.last_saved_step != before:
            step = self.last_saved_step
            self.console.say(f"checkpoint of step {step} written before the run ends")

    async def save_last_step(self) -> None:
        """Publish the held metrics and write a checkpoint, unless there is one of this step."""
        if self.prefetcher is not None:
            await self.prefetcher.cancel()
        await self.metrics.flush_within(ARRIVE)
        if self.learners_consistent and self.state.step > self.last_saved_step:
            await self.checkpoint()

    def _best_step(self) -> int | None:
        """The step whose evaluation was best, of those whose checkpoint is still there."""
        figure = self.plan.config.loop.keep_best
        if figure is None:
            return None
        evals = self.run_dir.read_evals()
        kept = {path.name for path in checkpoint.list_checkpoints(self.run_dir.checkpoints)}
        values = {
            step: result[figure]
            for step, result in evals.items()
            if f"step-{step:06d}" in kept and result.get(figure) is not None
        }
        choose = min if figure in LOWER_IS_BETTER else max
        return choose(values, key=lambda step: values[step]) if values else None

    def _open_ledger(self, *, resume: bool) -> None:
        """The ledger up to the present step; items that were in flight are issued again."""
        path, needed = self.run_dir.path, answers_needed(self.plan.config)
        self.ledger = (
            Ledger.reopen(path, self.state.step, needs_responses=needed)
            if resume
            else Ledger(path, needs_responses=needed)
        )
        # The present block goes on with its answers; those of later ones are of a lost policy.
        self.blocks.kept.forget(after=self.blocks.last_step(self.state.step + 1))
        self.prefetcher = RolloutPrefetcher(
            self.plan, self.rollouts, self.ledger, self.blocks, self.state
        )
