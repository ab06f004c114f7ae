"""Greedy answers to held-out cases, and their metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from actors.fleet import Item, Rollouts
from actors.loop.telemetry import Telemetry
from actors.weights.checkpoint import State
from medray.data.stream import first_studies
from medray.errors import RunFailed
from medray.evaluation.answer_files import answer_table
from medray.evaluation.answers import Answers
from medray.evaluation.figures.calibration import confidence_of
from medray.evaluation.metrics import score_answers, summarise
from medray.plan import Plan
from medray.records import Case, Response
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers, the cases that could not be used, how long it took, and whose answers they are."""

    answers: Answers
    unusable: int
    seconds: float
    versions: frozenset[int] = frozenset()  # of the policy

    def metadata(self, version: int | None) -> dict[str, object]:
        """What an evaluation says beside its figures."""
        return {"unusable": self.unusable, "policy_version": version, "seconds": self.seconds}


class Evaluator:
    """Evaluates the policy of a run on the first `eval.n` held-out studies.

    At once, or postponed: the generators, who have nothing else to do while the next step is
    learnt, then answer with the weights that they have until the next ones are sent.
    """

    def __init__(
        self,
        plan: Plan,
        rollouts: Rollouts,
        run: RunDirectory,
        telemetry: Telemetry,
        console: RunConsole,
    ) -> None:
        self.cases = first_studies(plan.dataset.heldout, plan.config.eval.n)
        self.rollouts, self.run, self.telemetry, self.console = rollouts, run, telemetry, console
        self._postponed: State | None = None
        self._running: asyncio.Task[None] | None = None

    def postpone(self, state: State) -> None:
        """Evaluate the weights of this step from `begin_postponed` on."""
        self._postponed = state

    def begin_postponed(self) -> None:
        """Begin what was postponed; no other weights may be offered before it has `finished`."""
        if self._postponed is not None:
            self._running = asyncio.create_task(self.evaluate(self._postponed))
            self._postponed = None

    async def finished(self) -> None:
        """Return when what was begun is written; RunFailed with the cause if it cannot be."""
        if self._running is not None:
            await asyncio.shield(self._running)
            self._running = None

    async def cancel(self) -> None:
        """Give up what was postponed or begun: the run returns to that step or one before it."""
        running, self._running, self._postponed = self._running, None, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def evaluate(self, state: State) -> None:
        """Evaluate the weights of this step and write the result, unless that is done already or
        nothing is held out."""
        if not self.cases or state.step in self.run.read_evals():
            return
        self.console.status(f"evaluating step {state.step}")
        answered = await answer_cases(self.rollouts, self.cases)
        if foreign := answered.versions - {state.policy_version}:
            why = f"answers of versions {sorted(foreign)}, not of {state.policy_version}"
            raise RunFailed(f"evaluation of step {state.step}", why, "this is a bug in medray")
        given = answered.answers
        rows = score_answers(self.cases, given.texts, confidences=given.confidences)
        result = summarise(rows) | answered.metadata(state.policy_version)
        self.run.write_eval(state.step, result, answer_table(rows))
        self.telemetry.evaluation(state.step, result)
        self.console.evaluated(state.step, result)


async def answer_cases(rollouts: Rollouts, cases: Sequence[Case]) -> Answered:
    """Greedy answers to `cases`, by the newest weights offered."""
    start = time.perf_counter()
    items, _ = await rollouts.load([Item(case.case_id, case) for case in cases])
    responses = await rollouts.generate(items, greedy=True)
    unusable = len(cases) - len(responses)
    versions = frozenset(response.policy_version for response in responses)
    return Answered(_answers(responses), unusable, time.perf_counter() - start, versions)


def _answers(responses: Sequence[Response]) -> Answers:
    texts = {response.case_id: response.text for response in responses}
    sure = {r.case_id: confidence_of(r.text, r.token_logps) for r in responses}
    return Answers(texts, {case_id: value for case_id, value in sure.items() if value is not None})
