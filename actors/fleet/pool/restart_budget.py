"""The restarts that a run can afford, counted by kind of actor and by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.fleet.calls import ActorLost, Cause
from medray.config import FaultsConfig


class RestartBudget:
    """Restarts of one run. `announce` prints one line for each, with its cause.

    `count` gets the kind and the cause of each; what is taken back later has happened all the same.
    """

    def __init__(
        self,
        config: FaultsConfig,
        announce: Callable[[str], None],
        count: Callable[[str, str], None] = lambda kind, cause: None,
    ) -> None:
        self.config, self.announce, self.count = config, announce, count
        self.spent: Counter[tuple[str, str]] = Counter()

    @property
    def restarts(self) -> int:
        """Restarts of the run so far."""
        return self.spent.total()

    def left(self, kind: str, cause: Cause) -> int:
        """Restarts that can still be charged."""
        return int(getattr(self.config, kind)) - self.spent[kind, cause]

    def refund(self, kind: str, cause: Cause) -> None:
        """Take back one restart: the loss turned out to be the fault of its work."""
        self.spent[kind, cause] -= 1

    def spend(self, kind: str, who: str, lost: ActorLost) -> bool:
        """Charge one restart of `who` and announce why; False if the budget is exhausted.

        `kind` is "generator", "editor", "localiser" or "learner".
        """
        limit = int(getattr(self.config, kind))
        key = (kind, lost.cause)
        if self.spent[key] >= limit:
            self.announce(f"{who} {lost.cause}: {lost.why}; not restarted, faults.{kind} = {limit}")
            return False
        self.spent[key] += 1
        self.count(kind, lost.cause)
        self.announce(f"{who} {lost.cause}: {lost.why}; restart {self.spent[key]} of {limit}")
        return True
