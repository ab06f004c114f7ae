"""Evaluates policies outside a run: whatever can be found in a directory answers the cases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import ray

from actors.cluster import connect
from actors.fleet import Fleet, RestartBudget, Rollouts, WeightUpdate, plan_placement
from actors.fleet.served import LanguageModels
from actors.loop.evaluation import Answered, answer_cases
from actors.weights.candidate import Candidate, LoadedPolicy, find_candidate, load_candidate
from medray.config import Config, EditorConfig
from medray.data.stream import first_studies
from medray.editing.llm.completion import Completer
from medray.errors import MedrayError, RunFailed
from medray.plan import Plan
from medray.records import Case
from medray.report.console import RunConsole

__all__ = ["answer_with", "find_candidate", "serve_judge"]


def answer_with(
    plan: Plan, candidates: Sequence[Candidate], *, address: str | None
) -> list[tuple[Answered, int | None]]:
    """The answers of each candidate to the plan's held-out studies, and its policy version.

    One cluster serves all of them, one after the other.
    """
    loaded = [load_candidate(plan.config, candidate) for candidate in candidates]
    cases = first_studies(plan.dataset.heldout, plan.config.eval.n)
    with connect(address):
        return [(asyncio.run(_answer(policy, cases)), policy.version) for policy in loaded]


async def _answer(policy: LoadedPolicy, cases: Sequence[Case]) -> Answered:
    budget = RestartBudget(policy.config.faults, RunConsole(0).say)
    placement = plan_placement(policy.config, learners=False)
    async with Fleet(policy.config, placement, budget, learners=False) as fleet:
        await fleet.start()
        if policy.manifest is not None:
            fleet.offer(WeightUpdate(policy.manifest, [ray.put(s) for s in policy.shards]))
        return await answer_cases(Rollouts(fleet), cases)


@contextlib.contextmanager
def serve_judge(config: Config, *, address: str | None) -> Iterator[Completer]:
    """The model of `eval.judge.path`, served as an editor's would be, as long as the context lasts.

    Raises RunFailed if it does not start.
    """
    editor = EditorConfig(kind="llm", **config.eval.judge.model_dump())
    own = config.model_copy(update={"editor": editor})
    failures: list[MedrayError] = []
    with connect(address), asyncio.Runner() as runner:
        placement = plan_placement(own, generators=False, learners=False)
        budget = RestartBudget(own.faults, RunConsole(0).say)
        models = LanguageModels(own, placement.language_model, budget, failures.append)
        runner.run(models.start())
        try:
            runner.run(models.wait_ready())
            if models.served is None:
                raise RunFailed(f"eval.judge.path = {editor.path}", "is not served")
            yield models.served
        finally:
            runner.run(models.close())
