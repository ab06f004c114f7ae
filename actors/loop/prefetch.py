"""Rollouts of the next steps, started while the learner is still at an earlier one.

The rollout of step s starts once step s-1-max_lag is done and its weights are offered. So no answer
is more than `loop.max_lag` versions old when its step is learnt, and no rollout is wasted. An
answer that is too old nevertheless (its generator was slow) is dropped by the editor as stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.fleet import Item, Rollouts, StepRollout
from actors.weights.checkpoint import State
from medray.data.stream import take
from medray.errors import RunFailed
from medray.ledger import Ledger
from medray.plan import Plan
from medray.records import Case
from medray.seeds import refill_seed
from medray.targeting import EditContext, Tally, draw

MAX_FRUITLESS_BATCHES = 10  # in a row without a single pair: something is wrong


class RolloutPrefetcher:
    """The running rollouts, by step."""

    def __init__(self, plan: Plan, rollouts: Rollouts, ledger: Ledger, state: State) -> None:
        self.plan, self.config, self.rollouts, self.ledger = plan, plan.config, rollouts, ledger
        self.tasks: dict[int, asyncio.Task[StepRollout]] = {}
        self.started, self.position = state.step, state.position  # of the last step started

    def start_allowed(self, done: State) -> None:
        """Start the rollouts that may be started after `done`."""
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
            rollout = StepRollout(self.started, self.position)
            task = self._fill(rollout, cases, EditContext(version, targets))
            self.tasks[self.started] = asyncio.create_task(task)

    async def wait_for(self, step: int) -> StepRollout:
        """The rollout of `step`, which was started."""
        rollout = await asyncio.shield(self.tasks[step])
        del self.tasks[step]
        return rollout

    async def cancel(self) -> None:
        """End all rollouts; their items stay in flight in the ledger."""
        tasks = list(self.tasks.values())
        self.tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fill(
        self, rollout: StepRollout, cases: Sequence[Case], context: EditContext
    ) -> StepRollout:
        """Answer and edit `cases`, and more of them until there is at least one pair."""
        for batch in range(MAX_FRUITLESS_BATCHES):
            items = self._issue(rollout.step, batch, cases)
            await self.rollouts.extend(rollout, items, context)
            if rollout.pairs:
                return rollout
            cases = self._refill(rollout.step, batch)
        raise RunFailed(
            f"step {rollout.step}",
            f"{MAX_FRUITLESS_BATCHES} batches gave no pair",
            "look at `medray pairs`, or run `medray edit` on a few answers: every one was dropped",
        )

    def _issue(self, step: int, batch: int, cases: Sequence[Case]) -> list[Item]:
        """One item per answer to be given, under ids of their own."""
        repeated = (case for case in cases for _ in range(self.config.generator.responses))
        items = [Item(f"s{step:06d}-b{batch}-{n:05d}", c) for n, c in enumerate(repeated, 1)]
        self.ledger.issue([(item.item_id, item.case) for item in items])
        return items

    def _refill(self, step: int, batch: int) -> list[Case]:
        """Cases instead of a batch that gave no pair, in an order of the step's own: later steps,
        which may have been started already, keep theirs."""
        return take(
            self.plan.dataset.train,
            position=batch * self.config.loop.batch,
            count=self.config.loop.batch,
            seed=refill_seed(self.config.run.seed, step),
        )
