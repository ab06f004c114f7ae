"""Greedy answers to held-out cases, and their metrics."""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.fleet import Item, Rollouts
from actors.loop.telemetry import Telemetry
from actors.weights.checkpoint import State
from medray.data.stream import first_studies
from medray.evaluation.metrics import compare_table, evaluate
from medray.plan import Plan
from medray.records import Case
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


class Evaluator:
    """Evaluates the policy of a run on the first `eval.n` held-out studies."""

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

    async def evaluate(self, state: State) -> None:
        """Evaluate the weights of this step and write the result, unless that is done already."""
        if state.step in self.run.read_evals():
            return
        self.console.status(f"evaluating step {state.step}")
        result, _ = await evaluate_policy(self.rollouts, self.cases, state.policy_version)
        self.run.write_eval(state.step, result)
        self.telemetry.evaluation(state.step, result)


async def evaluate_policy(
    rollouts: Rollouts, cases: Sequence[Case], version: int
) -> tuple[dict[str, object], dict[str, str]]:
    """Metrics of the greedy answers to `cases`, and the answers by case id."""
    start = time.perf_counter()
    items, unusable = await rollouts.load([Item(case.case_id, case) for case in cases])
    responses = await rollouts.generate(items, greedy=True)
    answers = {response.case_id: response.text for response in responses}
    result = evaluate([item.case for item in items], answers) | {
        "unusable": len(unusable),
        "policy_version": version,
        "seconds": time.perf_counter() - start,
    }
    return result, answers


def before_and_after(run: RunDirectory) -> list[tuple[str, float | None, float | None]]:
    """Rows of the table that a run ends with."""
    evals = run.read_evals()
    first, last = min(evals), max(evals)
    return compare_table(evals[first], evals[last])
