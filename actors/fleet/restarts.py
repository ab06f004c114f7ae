"""What a run survives: restarts, counted by kind of actor and cause, each said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.fleet.calls import ActorLost
from medray.config import FaultsConfig


class Faults:
    """The budget of restarts of one run."""

    def __init__(self, config: FaultsConfig, say: Callable[[str], None]) -> None:
        self.config, self.say = config, say
        self.spent: Counter[tuple[str, str]] = Counter()

    @property
    def restarts(self) -> int:
        """Restarts of the run so far."""
        return self.spent.total()

    def allows(self, kind: str, who: str, lost: ActorLost) -> bool:
        """Charge one restart of `who` and say why; False where the budget is spent.

        `kind` is "generator", "editor" or "learner".
        """
        limit = int(getattr(self.config, kind))
        key = (kind, lost.cause)
        if self.spent[key] >= limit:
            self.say(f"{who} {lost.cause}: {lost.why}; not restarted, faults.{kind} = {limit}")
            return False
        self.spent[key] += 1
        self.say(f"{who} {lost.cause}: {lost.why}; restart {self.spent[key]} of {limit}")
        return True
