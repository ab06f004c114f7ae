"""The cells of a study, in lanes: as many at a time as the cluster has room for.

A lane runs one cell after the other and keeps its actors loaded: of the cells that wait it takes
one that its actors can run, if there is one. On CPUs the actors of one cell use all cores of a
node, so there is a lane per node; with GPUs there are as many as fit. Where each actor runs is for
Ray to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray

from actors.cluster import Cluster, connect
from actors.fleet import plan_placement
from actors.launch import close, ending, finish, naming_the_cause, open_run, open_telemetry
from actors.loop.driver import Driver
from actors.loop.stop import Stop
from actors.study.warm_fleet import Start, WarmFleet
from medray.config import Config
from medray.errors import MedrayError, ResourceError, StoppedOnRequest
from medray.plan import make_plan
from medray.process import RunLock
from medray.report.console import RunConsole
from medray.rundir import RunDirectory
from medray.study import Cell, Study
from medray.study.results import FAILURES, STARTS, is_done, read_notes, write_notes
from medray.study.reuse import cost_of
from medray.tracking import require_trackers


def run_study(
    study: Study, *, address: str | None, report: Callable[[str], None], lanes: int | None = None
) -> None:
    """Run every cell that has no result yet; what stopped a cell is kept, and the next one begins.

    A cell that was cut short goes on from its checkpoint. `lanes`: cells at a time; None: as many
    as the cluster has room for. Raises StoppedOnRequest.
    """
    study.path.mkdir(parents=True, exist_ok=True)
    waiting = [cell for cell in study.cells if not is_done(study, cell)]
    report(f"{study.name}: {len(study.cells)} cells, {len(waiting)} to run")
    if not waiting:
        return
    for cell in waiting:
        require_trackers(study.config(cell).run.trackers)
    with connect(address) as cluster:
        cells = _Cells(study, waiting, cluster, report)
        nodes = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
        configs = [study.config(cell) for cell in waiting]
        asyncio.run(cells.run(lanes or count_lanes(configs, ray.cluster_resources(), nodes)))


def count_lanes(configs: Sequence[Config], has: dict[str, float], nodes: int) -> int:
    """How many cells a cluster has room for at a time, at least one.

    `has`: its CPUs and GPUs; `nodes`: how many of its nodes have CPUs. A cell that does not fit
    fails by itself.
    """
    placements = []
    for config in configs:
        with contextlib.suppress(ResourceError):
            placements.append(plan_placement(config, has))
    gpus = max((placement.gpus for placement in placements), default=0)
    cpus = max((placement.cpus for placement in placements), default=0)
    if not gpus:
        return min(len(configs), max(1, nodes))
    return max(1, min(len(configs), int(has["GPU"] // gpus), int(has["CPU"] // cpus)))


class _Cells:
    """The cells that wait, and what became of the others."""

    def __init__(
        self, study: Study, waiting: list[Cell], cluster: Cluster, report: Callable[[str], None]
    ) -> None:
        self.study, self.cluster, self.report = study, cluster, report
        self.waiting = [(cell, study.config(cell)) for cell in waiting]
        self.begun, self.count = 0, len(waiting)
        self.failures: dict[str, str] = {}
        self.starts: dict[str, dict[str, Any]] = read_notes(study.path, STARTS)
        self.stop = Stop(max(config.faults.stop_within for _, config in self.waiting))
        self.stopped: StoppedOnRequest | None = None

    async def run(self, lanes: int) -> None:
        """All cells. Raises StoppedOnRequest once every lane has stopped."""
        with self.stop.on_signals():
            async with asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(self._lane())
        if self.stopped is not None:
            raise self.stopped

    async def _lane(self) -> None:
        async with WarmFleet() as warm:
            while (found := self._next(warm.config)) is not None:
                try:
                    await self._run(found, warm)
                except StoppedOnRequest as stopped:
                    self.stopped = stopped
                    return
                except MedrayError as error:
                    await warm.close()
                    self.failures[found.name] = str(error)
                    self.report(f"cell {found.name} failed: {error}")
                write_notes(self.study.path, FAILURES, self.failures)

    def _next(self, present: Config | None) -> Cell | None:
        """The cell for which fewest new actors are needed; the first of them."""
        if not self.waiting:
            return None
        costs = [0 if present is None else cost_of(present, config) for _, config in self.waiting]
        return self.waiting.pop(costs.index(min(costs)))[0]

    async def _run(self, cell: Cell, warm: WarmFleet) -> None:
        """One cell, from its checkpoint if it has one, to its report."""
        self.stop.check()
        begin = time.monotonic()
        self.begun += 1
        self.report(f"cell {self.begun}/{self.count}: {cell.name}")
        plan = make_plan(self.study.config(cell), resume=True)
        console = RunConsole(plan.config.loop.steps, quiet=True)
        run = RunDirectory(plan.config.run_dir)
        placement = plan_placement(plan.config, generators=plan.generates)
        with RunLock(run.path), naming_the_cause(run):
            open_run(run, plan, placement, self.cluster, console, resume=True)
            starting = warm.fleet_for(plan, placement, console.say)
            fleet, start = await self.stop.cancel_on_stop(starting)
            telemetry = open_telemetry(plan, run, console)
            fleet.budget.count = telemetry.restart
            try:
                driver = Driver(plan, fleet, run, telemetry, console, self.stop)
                await driver.run(resume=True)
            finally:
                await asyncio.to_thread(close, console, telemetry, ending())
            await asyncio.to_thread(finish, run, console)
        self._keep(cell, start, time.monotonic() - begin)

    def _keep(self, cell: Cell, start: Start, seconds: float) -> None:
        entry = {"new_actors": start.new, "start_seconds": round(start.seconds, 2)}
        self.starts[cell.name] = entry | {"seconds": round(seconds, 2)}
        write_notes(self.study.path, STARTS, self.starts)
