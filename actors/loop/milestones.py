"""What is done every so many steps, and after the last one: a checkpoint, and an evaluation."""

from __future__ import annotations

from actors.loop.evaluation import Evaluator
from actors.loop.recovery import Recovery
from actors.loop.stop import Stop


class Milestones:
    """Of one run."""

    def __init__(self, recovery: Recovery, evaluator: Evaluator, stop: Stop) -> None:
        self.recovery, self.evaluator, self.stop = recovery, evaluator, stop
        self.plan = recovery.plan

    async def pass_due(self) -> None:
        """Do what is due after the present step."""
        recovery = self.recovery
        if self._due(self.plan.config.loop.checkpoint_every) and not recovery.saved:
            await self.stop.briefly(recovery.metrics.flush())
            await self.stop.until_deadline(recovery.checkpoint())
        if self._due(self.plan.config.eval.every) and self.plan.dataset.heldout:
            await self.stop.briefly(recovery.metrics.flush())
            await self.stop.briefly(recovery.sync.catch_up(recovery.state.policy_version))
            await self.evaluate()

    async def evaluate(self) -> None:
        """The weights of the present step, which the generators have: at once, or while the next
        step is learnt.

        Not postponed if the generators sleep then, and only where the run can return to this step:
        as long as the evaluation is not complete, no later one has a checkpoint.
        """
        state = self.recovery.state
        last = state.step == self.plan.config.loop.steps
        if last or self.recovery.fleet.turns.shared or not self.recovery.saved:
            await self.stop.interruptible(self.evaluator.evaluate(state))
        else:
            self.evaluator.postpone(state)

    def _due(self, every: int) -> bool:
        step = self.recovery.state.step
        return step == self.plan.config.loop.steps or bool(every and step % every == 0)
