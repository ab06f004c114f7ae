"""The loop, on one screen.

      cases ──load──▶ work ──generate──▶ responses ──edit──▶ pairs + batch ──learn──▶ report
        ▲                 (Generator: vLLM)        (Editor)           (Learner: DeepSpeed)  │
        └────────────── version n+1 ◀──sync── weights over the object store ◀──────────────┘

Step n trains policy version n-1 into version n. Records and references pass through here;
pixels and tensors do not. What became of every item is in the ledger before the next step.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from actors import checkpoint
from actors.checkpoint import State
from actors.fleet import Edited, Fleet, Sync, Work
from actors.telemetry import Telemetry
from medray.data.stream import of_studies, spread, take
from medray.errors import RunFailed, StoppedOnRequest
from medray.evaluation.metrics import compare_table, evaluate
from medray.ledger import Ledger
from medray.plan import Plan
from medray.records import Case, Dropped, Pair, Response, StepReport
from medray.report.console import RunConsole
from medray.rundir import RunDirectory

GOLDEN_PROMPTS = 8
FRUITLESS_ROUNDS = 10  # batches in a row without a single pair: something is wrong
SKIPPED_IN_A_ROW = 5


@dataclass(slots=True)
class Clock:
    """Seconds of the stages of one step."""

    load: float = 0.0
    generate: float = 0.0
    edit: float = 0.0
    learn: float = 0.0

    def timed(self, stage: str, begin: float) -> None:
        setattr(self, stage, getattr(self, stage) + time.perf_counter() - begin)


class Driver:
    """Runs a plan on a fleet. One method per box of the drawing above."""

    def __init__(
        self, plan: Plan, fleet: Fleet, run: RunDirectory, telemetry: Telemetry, console: RunConsole
    ) -> None:
        self.plan, self.config, self.fleet = plan, plan.config, fleet
        self.run_dir, self.telemetry, self.console = run, telemetry, console
        self.state = State(step=0, policy_version=0, position=0)
        self.ledger: Ledger
        self.stop_requested = False
        self.skipped_in_a_row = 0

    def run(self, *, resume: bool) -> None:
        """From step 1, or from the newest checkpoint, to the last step."""
        signal.signal(signal.SIGTERM, self._request_stop)
        self.fleet.choose_golden(spread(self.plan.dataset.heldout, GOLDEN_PROMPTS))
        self._begin(resume)
        loop = self.config.loop
        while self.state.step < loop.steps:
            row = self._step(self.state.step + 1)
            self.run_dir.append_metrics(row)
            self.telemetry.step(row)
            self.console.step(self.state.step, row)
            last = self.state.step == loop.steps
            every = self.config.eval.every
            if last or (every and self.state.step % every == 0):
                self._evaluate()
            every = loop.checkpoint_every
            if last or self.stop_requested or (every and self.state.step % every == 0):
                self._checkpoint()
            if self.stop_requested and not last:
                raise StoppedOnRequest(
                    f"stopped after step {self.state.step}", "as requested", "go on with --resume"
                )

    def _begin(self, resume: bool) -> None:
        """Step 0 with its evaluation, or the state of the newest valid checkpoint."""
        found = checkpoint.newest(self.run_dir.checkpoints) if resume else None
        if found is None:
            self.run_dir.rewind(-1)
            self.ledger = (
                Ledger.reopen(self.run_dir.path, 0) if resume else Ledger(self.run_dir.path)
            )
            if self.config.model.adapter is not None:
                self.fleet.wait_for_learners()
                self._accept(self.fleet.sync())  # the generators have loaded the model without it
            self._evaluate()
            self.fleet.wait_for_learners()
            return
        path, self.state, skipped = found
        for reason in skipped:
            self.console.say(f"skipped checkpoint {reason}")
        self.ledger = Ledger.reopen(self.run_dir.path, self.state.step)
        self.run_dir.rewind(self.state.step)
        self.fleet.wait_for_learners()
        self.fleet.restore(str(path / "learner"))
        self._accept(self.fleet.sync())
        self.console.say(f"going on from {path.name}, policy version {self.state.policy_version}")

    def _step(self, step: int) -> dict[str, Any]:
        """One step: its metrics row, written to the ledger pair by pair."""
        begin, clock = time.perf_counter(), Clock()
        version = self.state.policy_version
        edited, responses = self._make_pairs(step, version, clock)
        mark = time.perf_counter()
        report = self.fleet.learn(edited, version)
        clock.timed("learn", mark)
        self._record(edited, report)
        sync = self._advance(step, report)
        counts = self.ledger.close_step(step)
        lags = [
            version - o.policy_version for e in edited for o in e.outcomes if isinstance(o, Pair)
        ]
        return dict(report.metrics) | {
            "step": step,
            "policy_version": version,
            "pairs_issued": counts.issued,
            "pairs_trained": counts.trained,
            "pairs_dropped": counts.dropped,
            "lag_max": max(lags, default=0),
            "tokens_generated": sum(len(r.token_ids) for r in responses),
            "t_generate": clock.load + clock.generate,
            "t_edit": clock.edit,
            "t_learn": clock.learn,
            "t_sync": sync.seconds,
            "t_step": time.perf_counter() - begin,
            "sync_bytes": sync.bytes,
            "logp_gap": sync.logp_gap,
        }

    def _make_pairs(
        self, step: int, version: int, clock: Clock
    ) -> tuple[list[Edited], list[Response]]:
        """Issue batches until at least one pair stands."""
        all_edited: list[Edited] = []
        all_responses: list[Response] = []
        for batch in range(FRUITLESS_ROUNDS):
            items = self._issue(step, batch)
            mark = time.perf_counter()
            work, unusable = self.fleet.load(items)
            clock.timed("load", mark)
            for item_id, reason in unusable:
                self.ledger.drop(Dropped(item_id, dict(items)[item_id].case_id, version, reason))
            mark = time.perf_counter()
            responses = self.fleet.generate(work, version, greedy=False)
            clock.timed("generate", mark)
            mark = time.perf_counter()
            edited = self.fleet.edit(work, self._admit(responses), version)
            clock.timed("edit", mark)
            all_edited += edited
            all_responses += responses
            if any(isinstance(o, Pair) for e in edited for o in e.outcomes):
                return all_edited, all_responses
            self._record_drops(edited)
        raise RunFailed(
            f"step {step}",
            f"{FRUITLESS_ROUNDS} batches gave no pair",
            "see the drop reasons in the ledger",
        )

    def _issue(self, step: int, batch: int) -> list[tuple[str, Case]]:
        """The next cases of the stream, each with the ids of its responses."""
        loop, responses = self.config.loop, self.config.generator.responses
        cases = take(
            self.plan.dataset.train, position=self.state.position, count=loop.batch,
            seed=self.config.run.seed,
        )  # fmt: skip
        self.state = State(
            self.state.step, self.state.policy_version, self.state.position + loop.batch
        )
        numbered = enumerate((case for case in cases for _ in range(responses)), 1)
        items = [(f"s{step:06d}-b{batch}-{n:05d}", case) for n, case in numbered]
        self.ledger.issue(items)
        return items

    def _admit(self, responses: Sequence[Response]) -> list[Response]:
        """Every response enters the books before anyone works on it."""
        for response in responses:
            self.ledger.response(response)
        return list(responses)

    def _record(self, edited: Sequence[Edited], report: StepReport) -> None:
        """What became of every outcome of the step."""
        scores = {score.pair_id: score for score in report.scores}
        self._record_drops(edited)
        for outcome in (o for e in edited for o in e.outcomes):
            if isinstance(outcome, Pair):
                settle = self.ledger.skipped if report.skipped else self.ledger.trained
                settle(outcome, scores[outcome.pair_id])

    def _record_drops(self, edited: Sequence[Edited]) -> None:
        for outcome in (o for e in edited for o in e.outcomes):
            if isinstance(outcome, Dropped) and outcome.pair_id in self.ledger.in_flight:
                self.ledger.drop(outcome)

    def _advance(self, step: int, report: StepReport) -> Sync:
        """Weights to the generators, unless the step left them as they were."""
        if report.skipped:
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= SKIPPED_IN_A_ROW:
                raise RunFailed(
                    f"step {step}",
                    f"{SKIPPED_IN_A_ROW} non-finite losses in a row",
                    "lower learner.lr",
                )
            version, sync = (
                self.state.policy_version,
                Sync(0, 0.0, self.fleet.logp_gap(report.policy_version)),
            )
        else:
            self.skipped_in_a_row = 0
            version, sync = self.state.policy_version + 1, self.fleet.sync()
        self.state = State(step, version, self.state.position)
        return self._accept(sync)

    def _accept(self, sync: Sync) -> Sync:
        if not sync.logp_gap <= self.config.loop.max_logp_gap:
            raise RunFailed(
                f"logp_gap = {sync.logp_gap:.3f} nats",
                f"more than loop.max_logp_gap = {self.config.loop.max_logp_gap}",
                "the generators do not have the learner's weights",
            )
        return sync

    def _evaluate(self) -> None:
        """Greedy answers to the held-out studies with the weights of this step."""
        self.console.status(f"evaluating step {self.state.step}")
        cases = of_studies(self.plan.dataset.heldout, self.config.eval.n)
        result, _ = evaluate_policy(self.fleet, cases, self.state.policy_version)
        self.run_dir.write_eval(self.state.step, result)
        self.telemetry.evaluation(self.state.step, result)

    def _checkpoint(self) -> None:
        manifest, shards = self.fleet.export()
        checkpoint.write(self.run_dir.checkpoints, self.state, self.fleet.save, manifest, shards)

    def _request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.stop_requested = True


def evaluate_policy(
    fleet: Fleet, cases: Sequence[Case], version: int
) -> tuple[dict[str, object], dict[str, str]]:
    """Metrics of the greedy answers to `cases`, and the answers by case id."""
    begin = time.perf_counter()
    work, unusable = fleet.load([(case.case_id, case) for case in cases])
    responses = fleet.generate(work, version, greedy=True)
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


__all__ = ["Driver", "Work", "before_and_after"]
