"""The loop, on one screen.

      cases ──load──▶ work ──generate──▶ responses ──edit──▶ pairs + batch ──learn──▶ report
        ▲                 (Generator: vLLM)        (Editor)           (Learner: DeepSpeed)  │
        └────────────── version n+1 ◀──sync── weights over the object store ◀──────────────┘

Step n trains policy version n-1 into version n. Records and references pass through here;
pixels and tensors do not. What became of every item is in the ledger before the next step.
With `loop.max_lag` above 0 the rollouts of later steps are under way meanwhile (`ahead`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence

from actors.fleet.fleet import Fleet
from actors.fleet.learner_group import RanksLost
from actors.fleet.work import Update
from actors.loop.metrics import Journal, Sync, account, measure
from actors.loop.prefetch import Ahead, Prepared
from actors.loop.stop import Stop
from actors.loop.telemetry import Telemetry
from actors.weights import checkpoint
from actors.weights.checkpoint import State
from medray.data.stream import evenly_spaced, first_studies
from medray.errors import MedrayError, RunFailed, StoppedOnRequest
from medray.evaluation.metrics import compare_table, evaluate
from medray.ledger import Ledger
from medray.plan import Plan
from medray.records import Case, StepReport
from medray.report.console import RunConsole
from medray.rundir import RunDirectory
from medray.targeting import Tally, classify_errors

GOLDEN_PROMPTS = 8
SKIPPED_IN_A_ROW = 5


class Driver:
    """Runs a plan on a fleet. One method per box of the drawing above."""

    def __init__(
        self, plan: Plan, fleet: Fleet, run: RunDirectory, telemetry: Telemetry, console: RunConsole
    ) -> None:
        self.plan, self.config, self.fleet = plan, plan.config, fleet
        self.run_dir, self.telemetry, self.console = run, telemetry, console
        self.state = State(step=0, policy_version=0, position=0)
        self.saved = 0  # step of the newest checkpoint
        self.ledger: Ledger
        self.ahead: Ahead | None = None
        self.journal = Journal(run, telemetry, console)
        self.stop = Stop(self.config.faults.stop_within)
        self.sent: Update | None = None
        self.whole = False  # whether the learners are well and hold what `state` says
        self.skipped_in_a_row = 0

    async def run(self, *, resume: bool) -> None:
        """From step 1, or from the newest checkpoint, to the last step."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop.request)
        try:
            await self.stop.or_result(self._begin(resume))
            while self.state.step < self.config.loop.steps:
                self.stop.check()
                try:
                    await self._step(self.state.step + 1)
                except RanksLost as lost:
                    await self.stop.or_result(self._recover(lost))
        except StoppedOnRequest:
            raise await self._stopped() from None
        except RunFailed as failed:
            if not isinstance(failed, RanksLost):
                await self._keep_what_was_learnt()
            raise
        finally:
            await self._abandon()

    async def _begin(self, resume: bool) -> None:
        """Step 0 with its evaluation, or the state of the newest valid checkpoint."""
        await self.fleet.choose_golden(evenly_spaced(self.plan.dataset.heldout, GOLDEN_PROMPTS))
        try:
            if resume and await self._restore():
                return
            self.run_dir.rewind(-1)
            self._open_books(resume)
            if self.config.model.adapter is not None:
                await self.fleet.learners_ready()
                await self._sync()  # the generators have loaded the model without it
            await self._evaluate()
            await self.fleet.learners_ready()
        except RanksLost as lost:
            await self._recover(lost)
            await self._evaluate()

    async def _restore(self) -> bool:
        """Everything as the newest valid checkpoint says; False where there is none."""
        found = await asyncio.to_thread(checkpoint.newest, self.run_dir.checkpoints)
        if found is None:
            return False
        path, self.state, skipped = found
        for reason in skipped:
            self.console.say(f"skipped checkpoint {reason}")
        self.saved = self.state.step
        self.run_dir.rewind(self.state.step)
        self._open_books(True)
        await self.fleet.learners_ready()
        held = await self.fleet.restore(str(path / "learner"))
        if held != self.state.policy_version:
            why = f"its learner holds version {held}, its state says {self.state.policy_version}"
            raise RunFailed(str(path), why, "delete this checkpoint")
        await self._sync()
        self.console.say(f"going on from {path.name}, policy version {self.state.policy_version}")
        await self._do_what_is_due()
        return True

    async def _recover(self, lost: RanksLost) -> None:
        """New learners where the old ones died, and the run as it was at its checkpoint."""
        self.whole = False
        await self._abandon()
        while self.fleet.faults.allows("learner", lost.what, lost.lost):
            try:
                await self.fleet.restart_learners()
                if not await self._restore():
                    self.state = State(step=0, policy_version=0, position=0)
                    self.run_dir.rewind(0)
                    self._open_books(True)
                    await self._sync()
                    self.console.say("going on from the beginning: there is no checkpoint yet")
                return
            except RanksLost as again:
                lost = again
        raise lost

    async def _step(self, step: int) -> None:
        """Learn one rollout, account for it, send the weights; evaluate and save where due."""
        begin, loop, version = time.monotonic(), self.config.loop, self.state.policy_version
        ahead = self._admit()
        prepared = await self.stop.or_result(ahead.take(step))
        self.whole = False
        learning = self.fleet.learn(prepared.rollout.edited, version)
        report, seconds = await self.stop.or_late(learning)
        row = measure(prepared, report, account(self.ledger, prepared, report), self.fleet)
        tally = self._count_errors(prepared, report)
        row |= tally.metrics() if self.config.targeting.strength else {}
        version += not report.skipped
        self.state = State(step, version, prepared.position, tally.to_dict())
        self.whole = True
        await self.stop.or_late(self.journal.close())  # the row before, whose weights have arrived
        sending = await self._send(report)
        self._admit()
        if loop.max_lag == 0:
            await self.stop.or_late(asyncio.shield(sending))
        row |= {"t_learn": seconds, "t_step": time.monotonic() - begin}
        self.journal.open(row, sending)
        self._require_progress(report)
        await self._do_what_is_due()
        if loop.max_lag == 0:
            await self.journal.close()

    async def _do_what_is_due(self) -> None:
        """A checkpoint and an evaluation after so many steps, and after the last."""
        if self._due(self.config.loop.checkpoint_every) and self.saved != self.state.step:
            await self.stop.or_late(self.journal.close())
            await self.stop.or_late(self._checkpoint())
        if self._due(self.config.eval.every):
            await self.stop.or_late(self.journal.close())
            await self.stop.or_result(self._evaluate())

    def _due(self, every: int) -> bool:
        step = self.state.step
        return step == self.config.loop.steps or bool(every and step % every == 0)

    def _admit(self) -> Ahead:
        assert self.ahead is not None, "the books are not open"
        self.ahead.admit(self.state)
        return self.ahead

    async def _send(self, report: StepReport | None = None) -> asyncio.Task[Sync]:
        """Offer the learners' weights; the task ends when the generators hold them.

        A step that left the weights as they were has nothing to send.
        """
        begin = time.monotonic()
        if report is not None and report.skipped:
            return asyncio.create_task(self._nothing_sent())
        self.sent = await self.stop.or_late(self.fleet.export())
        self.fleet.offer(self.sent)
        return asyncio.create_task(self._arrival(self.sent, begin))

    async def _arrival(self, update: Update, begin: float) -> Sync:
        await self.fleet.taken_over(update)
        seconds = time.monotonic() - begin
        return Sync(update.manifest.bytes, seconds, update.gap, update.caches)

    async def _nothing_sent(self) -> Sync:
        return Sync(0, 0.0, 0.0 if self.sent is None else self.sent.gap)

    async def _sync(self) -> None:
        """The learners' weights into every generator, now."""
        await (await self._send())

    def _count_errors(self, prepared: Prepared, report: StepReport) -> Tally:
        """The policy's errors so far, where the run follows them."""
        tally, config = Tally.from_dict(self.state.tally), self.config.targeting
        if not config.strength:
            return tally
        cases = dict(prepared.items)
        scores = {score.pair_id: score for score in report.scores}
        seen = [
            classify_errors(cases[pair.pair_id], pair, scores[pair.pair_id], config.prior_below)
            for pair in prepared.rollout.pairs
        ]
        return tally.after(seen, config.decay)

    def _require_progress(self, report: StepReport) -> None:
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if report.skipped else 0
        if self.skipped_in_a_row >= SKIPPED_IN_A_ROW:
            raise RunFailed(
                f"step {self.state.step}",
                f"{SKIPPED_IN_A_ROW} non-finite losses in a row",
                "lower learner.lr",
            )

    async def _evaluate(self) -> None:
        """Greedy answers to the held-out studies with the weights of this step, once."""
        if self.state.step in self.run_dir.read_evals():
            return
        self.console.status(f"evaluating step {self.state.step}")
        cases = first_studies(self.plan.dataset.heldout, self.config.eval.n)
        result, _ = await evaluate_policy(self.fleet, cases, self.state.policy_version)
        self.run_dir.write_eval(self.state.step, result)
        self.telemetry.evaluation(self.state.step, result)

    async def _checkpoint(self) -> None:
        """Learners, weights and position of the last step done."""
        state, update = self.state, self.sent
        if update is None or update.manifest.version != state.policy_version:
            update = await self.fleet.export()
        draft = checkpoint.begin(self.run_dir.checkpoints, state)
        await self.fleet.save(str(draft / "learner"))
        manifest, shards = await self.fleet.fetch(update)
        await asyncio.to_thread(checkpoint.publish, draft, state, manifest, shards)
        self.saved = state.step

    def _open_books(self, resume: bool) -> None:
        """The ledger up to the present step; what was under way is issued again."""
        path = self.run_dir.path
        self.ledger = Ledger.reopen(path, self.state.step) if resume else Ledger(path)
        self.ahead = Ahead(self.plan, self.fleet, self.ledger, self.state)

    async def _abandon(self) -> None:
        """Give up what is under way: rollouts, and the row of a step that will be done again."""
        if self.ahead is not None:
            await self.ahead.abandon()
        await self.journal.discard()

    async def _stopped(self) -> StoppedOnRequest:
        """A checkpoint of the last step done, in the time that is left."""
        step, why = self.state.step, "as requested"
        try:
            async with asyncio.timeout(self.stop.seconds_left):
                await self._keep()
        except TimeoutError:
            why = f"no checkpoint within faults.stop_within = {self.stop.within:g} s"
        except RunFailed as failed:
            why = f"no checkpoint ({failed})"
        if self.saved != step:
            why += f"; the newest checkpoint is of step {self.saved}" if self.saved else ""
        return StoppedOnRequest(f"stopped after step {step}", why, "go on with --resume")

    async def _keep_what_was_learnt(self) -> None:
        """A last checkpoint where the learners still live; what counts is the failure itself."""
        before = self.saved
        with contextlib.suppress(MedrayError):
            await self._keep()
        if self.saved != before:
            self.console.say(f"checkpoint of step {self.saved} written, before the run ends")

    async def _keep(self) -> None:
        """Publish the open row and write a checkpoint, unless there is one of this step."""
        if self.ahead is not None:
            await self.ahead.abandon()
        self.journal.close_early()
        if self.whole and self.state.step > self.saved:
            await self._checkpoint()


async def evaluate_policy(
    fleet: Fleet, cases: Sequence[Case], version: int
) -> tuple[dict[str, object], dict[str, str]]:
    """Metrics of the greedy answers to `cases`, and the answers by case id."""
    begin = time.perf_counter()
    work, unusable = await fleet.rollouts.load([(case.case_id, case) for case in cases])
    responses = await fleet.rollouts.generate(work, greedy=True)
    answers = {response.case_id: response.text for response in responses}
    result = evaluate([item.case for item in work], answers) | {
        "unusable": len(unusable),
        "policy_version": version,
        "seconds": time.perf_counter() - begin,
    }
    return result, answers


def before_and_after(run: RunDirectory) -> list[tuple[str, float | None, float | None]]:
    """Rows of the table a run ends with."""
    evals = run.read_evals()
    first, last = min(evals), max(evals)
    return compare_table(evals[first], evals[last])
