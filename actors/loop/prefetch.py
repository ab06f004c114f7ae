"""Rollouts of the next steps, started while the learner is still at an earlier one.

The rollout of step s starts once step s-1-max_lag is done and its weights are offered. So no answer
is more than `loop.max_lag` versions old when its step is learnt, and no rollout is wasted. An
answer that is too old nevertheless (its generator was slow) is dropped by the editor as stale.
With `loop.resample_every` the answers of a step were sampled with those of its block (`blocks`).
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Sequence

from actors.fleet import Item, Rollouts, StepRollout
from actors.loop.blocks import Blocks
from actors.weights.checkpoint import State
from medray.data.stream import image_groups, take
from medray.errors import RunFailed
from medray.ledger import Ledger
from medray.objectives import answers_needed
from medray.plan import Plan
from medray.records import Case
from medray.seeds import refill_seed
from medray.targeting import EditContext, ErrorTargets, Tally, draw

MAX_FRUITLESS_BATCHES = 10  # in a row without a single pair: something is wrong


class RolloutPrefetcher:
    """The running rollouts, by step."""

    def __init__(
        self, plan: Plan, rollouts: Rollouts, ledger: Ledger, blocks: Blocks, state: State
    ) -> None:
        self.plan, self.config, self.rollouts, self.ledger = plan, plan.config, rollouts, ledger
        self.blocks = blocks
        self.in_blocks = answers_needed(plan.config) and plan.config.loop.resample_every != 1
        self.tasks: dict[int, asyncio.Task[StepRollout]] = {}
        self.started, self.position = state.step, state.position  # of the last step started

    def start_allowed(self, done: State) -> None:
        """Start the rollouts that may be started after `done`."""
        config = self.config
        last = min(done.step + 1 + config.loop.max_lag, config.loop.steps)
        while self.started < last:
            self.started += 1
            aim = config.targeting
            targets = Tally.from_dict(done.tally).targets(aim.strength, aim.by)
            version = done.policy_version + self.started - 1 - done.step
            context = EditContext(version, targets)
            if self.in_blocks:
                task = self._fill_from_block(self.started, done.position, context)
            else:
                cases, self.position = self._draw(self.position, targets)
                task = self._fill(StepRollout(self.started, self.position), cases, context)
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
            items = self._items(rollout.step, batch, cases)
            self._issue(rollout.step, items)
            await self.rollouts.extend(rollout, items, context)
            if rollout.pairs:
                return rollout
            cases = self._refill(rollout.step, batch)
        raise RunFailed(
            f"step {rollout.step}",
            f"{MAX_FRUITLESS_BATCHES} batches gave no pair: {_counted(rollout)}",
            "docs/run-directory.md says what each reason means",
        )

    async def _fill_from_block(self, step: int, position: int, context: EditContext) -> StepRollout:
        """Edit what was answered for this step, before its block; there may be no pair in it."""
        start = time.monotonic()
        await self.blocks.sample(
            step,
            position,
            lambda _, position: self._draw(position, context.targets),
            lambda step, cases: self._items(step, 0, cases),
        )
        seconds = time.monotonic() - start
        kept = self.blocks.read(step)
        items = [Item(item_id, self._cases[case_id]) for item_id, case_id in kept.items]
        self._issue(step, items)
        rollout = StepRollout(step, kept.position, generate_seconds=seconds)
        await self.rollouts.extend(rollout, items, context, kept.responses)
        return rollout

    @functools.cached_property
    def _cases(self) -> dict[str, Case]:
        """The training cases by id."""
        return {case.case_id: case for case in self.plan.dataset.train}

    @functools.cached_property
    def _groups(self) -> tuple[int, ...] | None:
        """The images of the training cases, if cases of one image are to stand side by side."""
        if self.config.loop.group_by == "case":
            return None
        return image_groups(self.plan.dataset.train)

    def _draw(self, position: int, targets: ErrorTargets) -> tuple[list[Case], int]:
        """The cases of the step that begins at `position`, and the position after it."""
        return draw(
            self.plan.dataset.train,
            position=position,
            count=self.config.loop.batch,
            seed=self.config.run.seed,
            targets=targets,
            candidates=self.config.targeting.candidates,
            groups=self._groups,
        )

    def _items(self, step: int, batch: int, cases: Sequence[Case]) -> list[Item]:
        """One item per answer to be given, or per pair that is given, under ids of their own."""
        answers = self.config.generator.responses if answers_needed(self.config) else 1
        repeated = (case for case in cases for _ in range(answers))
        return [Item(f"s{step:06d}-b{batch}-{n:05d}", c) for n, c in enumerate(repeated, 1)]

    def _issue(self, step: int, items: Sequence[Item]) -> None:
        self.ledger.issue(step, [(item.item_id, item.case) for item in items])

    def _refill(self, step: int, batch: int) -> list[Case]:
        """Cases instead of a batch that gave no pair, in an order of the step's own: later steps,
        which may have been started already, keep theirs."""
        return take(
            self.plan.dataset.train,
            position=batch * self.config.loop.batch,
            count=self.config.loop.batch,
            seed=refill_seed(self.config.run.seed, step),
            groups=self._groups,
        )


def _counted(rollout: StepRollout) -> str:
    """The reasons, the most frequent first."""
    return ", ".join(f"{reason} {n}" for reason, n in rollout.reasons.most_common())
