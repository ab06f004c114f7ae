"""Blocks of steps that learn from answers of one policy: offline and semi-online training.

With `loop.resample_every` N above 1, steps kN+1 … kN+N learn from what the policy said before the
first of them; with 0 all steps learn from what it said before training. The answers of a block are
sampled at its beginning and kept in the run directory; each step edits its own when it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.fleet import Item, Rollouts
from medray.config import LoopConfig
from medray.kept_answers import AnsweredStep, KeptAnswers
from medray.records import Case

# (step, position in the stream) → the cases of the step, and the position after it
Draw = Callable[[int, int], tuple[list[Case], int]]
Name = Callable[[int, Sequence[Case]], list[Item]]  # (step, its cases) → its items


class Blocks:
    """Samples the answers of one block at a time."""

    def __init__(self, loop: LoopConfig, rollouts: Rollouts, kept: KeptAnswers) -> None:
        self.loop, self.rollouts, self.kept = loop, rollouts, kept

    def last_step(self, step: int) -> int:
        """The last step of the block that `step` is in.

        >>> Blocks(LoopConfig(steps=10, resample_every=4), None, None).last_step(5)
        8
        """
        every = self.loop.resample_every or self.loop.steps
        return min(-(-step // every) * every, self.loop.steps)

    def begins_after(self, step: int) -> bool:
        """Whether another block begins behind `step`: generators then need the step's weights."""
        return step < self.loop.steps and self.last_step(step + 1) != self.last_step(max(1, step))

    async def sample(self, first: int, position: int, draw: Draw, name: Name) -> None:
        """Answers for the steps from `first` to the end of its block, where there are none yet."""
        before: int | None = None  # the kept step that the next missing one follows
        for step in range(first, self.last_step(first) + 1):
            if self.kept.has(step):
                before = step
                continue
            if before is not None:
                position, before = self.kept.read(before).position, None
            cases, position = draw(step, position)
            items = name(step, cases)
            usable, _ = await self.rollouts.load(items)
            responses = await self.rollouts.generate(usable, greedy=False)
            names = [(item.item_id, item.case.case_id) for item in items]
            self.kept.write(step, names, responses, position)

    def read(self, step: int) -> AnsweredStep:
        return self.kept.read(step)
