"""A fleet that outlives its run: the next cell begins on the same processes where it can."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from actors.fleet import Fleet, Placement, RestartBudget
from medray.config import Config
from medray.errors import RunFailed
from medray.plan import Plan
from medray.study.reuse import needs_new_actors


@dataclass(frozen=True, slots=True)
class Start:
    """How the actors of a cell began. `new`: why processes were started, "" if none were."""

    new: str
    seconds: float


class WarmFleet:
    """At most one fleet at a time: a context manager that closes the last one."""

    def __init__(self) -> None:
        self.config: Config | None = None  # of the last run on the present actors
        self._fleet: Fleet | None = None
        self._placement: Placement | None = None
        self._generates = True

    async def __aenter__(self) -> WarmFleet:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def fleet_for(
        self, plan: Plan, placement: Placement, say: Callable[[str], None]
    ) -> tuple[Fleet, Start]:
        """A fleet as a run of this plan would start it, with the present actors if they fit."""
        start = time.monotonic()
        budget = RestartBudget(plan.config.faults, say)
        new = self._why_new(plan, placement)
        if self._fleet is not None and not new:
            try:
                await self._fleet.reset(plan.config, budget)
                self.config = plan.config
                return self._fleet, Start("", time.monotonic() - start)
            except RunFailed as lost:
                new = str(lost)
        await self.close()
        fleet = self._fleet = Fleet(plan.config, placement, budget, generators=plan.generates)
        self._placement, self._generates = placement, plan.generates
        await fleet.start()
        self.config = plan.config
        return fleet, Start(new, time.monotonic() - start)

    async def close(self) -> None:
        """End the present actors, if there are any."""
        fleet, self._fleet, self.config = self._fleet, None, None
        if fleet is not None:
            await fleet.__aexit__(None, None, None)

    def _why_new(self, plan: Plan, placement: Placement) -> str:
        if self.config is None:
            return "the first run"
        if self._generates != plan.generates:
            return "generators"
        if placement != self._placement:
            return "placement"
        return needs_new_actors(self.config, plan.config)
