"""Rollouts of the next steps, begun while the learner is still at an earlier one.

The rollout of step s begins once step s-1-max_lag is done and its weights are offered, so no
answer is ever further behind than `loop.max_lag` when its step is learnt, and none is made in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.fleet.fleet import Fleet
from actors.fleet.work import Rollout
from actors.weights.checkpoint import State
from medray.data.stream import take
from medray.errors import RunFailed
from medray.ledger import Ledger
from medray.plan import Plan
from medray.records import Case
from medray.seeds import refill_seed
from medray.targeting import ErrorTargets, Tally, draw

FRUITLESS_ROUNDS = 10  # batches in a row without a single pair: something is wrong


@dataclass(slots=True)
class Prepared:
    """All that a step issued, and what came of it."""

    step: int
    position: int  # in the stream of cases, behind this step
    items: list[tuple[str, Case]] = field(default_factory=list)
    rollout: Rollout = field(default_factory=Rollout)


class Ahead:
    """The rollouts that are under way, by step."""

    def __init__(self, plan: Plan, fleet: Fleet, ledger: Ledger, begin: State) -> None:
        self.plan, self.config, self.fleet, self.ledger = plan, plan.config, fleet, ledger
        self.tasks: dict[int, asyncio.Task[Prepared]] = {}
        self.started, self.position = begin.step, begin.position  # of the last step begun

    def admit(self, done: State) -> None:
        """Begin what may be begun after `done`."""
        config = self.config
        last = min(done.step + 1 + config.loop.max_lag, config.loop.steps)
        while self.started < last:
            self.started += 1
            targets = Tally.from_dict(done.tally).targets(config.targeting.strength)
            cases, self.position = draw(
                self.plan.dataset.train,
                position=self.position,
                count=config.loop.batch,
                seed=config.run.seed,
                targets=targets,
                candidates=config.targeting.candidates,
            )
            version = done.policy_version + self.started - 1 - done.step
            prepared = Prepared(self.started, self.position)
            work = self._prepare(prepared, cases, version, targets)
            self.tasks[self.started] = asyncio.create_task(work)

    async def take(self, step: int) -> Prepared:
        """The rollout of `step`, which was admitted."""
        prepared = await asyncio.shield(self.tasks[step])
        del self.tasks[step]
        return prepared

    async def abandon(self) -> None:
        """End all rollouts; what they issued stays in flight in the ledger."""
        tasks = list(self.tasks.values())
        self.tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(
        self, prepared: Prepared, cases: Sequence[Case], version: int, targets: ErrorTargets
    ) -> Prepared:
        """Answer and edit `cases`; more of them until at least one pair stands."""
        step = prepared.step
        for batch in range(FRUITLESS_ROUNDS):
            items = self._issue(step, batch, cases)
            prepared.items += items
            prepared.rollout.add(await self.fleet.rollouts.make(items, version, targets))
            if prepared.rollout.pairs:
                return prepared
            cases = self._more(step, batch)
        raise RunFailed(
            f"step {step}",
            f"{FRUITLESS_ROUNDS} batches gave no pair",
            "look at `medray pairs`, or run `medray edit` on a few answers: every one was dropped",
        )

    def _issue(self, step: int, batch: int, cases: Sequence[Case]) -> list[tuple[str, Case]]:
        """Each case as often as it is to be answered, under ids of its own."""
        responses = self.config.generator.responses
        numbered = enumerate((case for case in cases for _ in range(responses)), 1)
        items = [(f"s{step:06d}-b{batch}-{n:05d}", case) for n, case in numbered]
        self.ledger.issue(items)
        return items

    def _more(self, step: int, batch: int) -> list[Case]:
        """Cases in the place of a batch that gave nothing: an order of the step's own, so that
        the steps behind it, which may be under way already, keep theirs."""
        return take(
            self.plan.dataset.train,
            position=batch * self.config.loop.batch,
            count=self.config.loop.batch,
            seed=refill_seed(self.config.run.seed, step),
        )
