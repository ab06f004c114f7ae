"""From a checked plan to a finished run: cluster, fleet, loop, report."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from actors.accelerator import require_kernels
from actors.cluster import Cluster, connect, keep_token
from actors.fleet import (
    Fleet,
    Placement,
    RestartBudget,
    placement_in_time,
    plan_placement,
    this_machine,
)
from actors.loop.driver import Driver
from actors.loop.stop import Stop, grace_note
from actors.loop.telemetry import Telemetry
from medray.errors import MedrayError, RunFailed, StoppedOnRequest
from medray.files import disk_fault
from medray.plan import Plan
from medray.process import RunLock
from medray.report import write_report
from medray.report.console import RunConsole
from medray.report.progress import LOADING
from medray.rundir import RunDirectory
from medray.tracking import Ending, open_boards


def launch(
    plan: Plan, *, resume: bool, address: str | None, dashboard: bool = False, quiet: bool = False
) -> Path:
    """Run the plan; returns the path of its report. Nothing that it starts outlives the call."""
    config = plan.config
    console = RunConsole(config.loop.steps, quiet=quiet)
    with RunLock(config.run_dir):
        if not (address or os.environ.get("RAY_ADDRESS", "").strip()):
            refuse_here(plan)  # before a local cluster is started
        with connect(address, dashboard=dashboard) as cluster:
            return run_on(cluster, plan, console, resume=resume)


def refuse_here(plan: Plan) -> None:
    """Raise ResourceError if the run's actors cannot work on this machine."""
    placement = plan_placement(plan.config, this_machine(), generators=plan.generates)
    if plan.generates and not placement.gpus:
        require_kernels()


def run_on(cluster: Cluster, plan: Plan, console: RunConsole, *, resume: bool) -> Path:
    """Run the plan on a cluster that is connected; returns the path of its report.

    Raises RunFailed with the cause if the disk does not let the run go on.
    """
    config = plan.config
    placement = placement_in_time(config, console.say, generators=plan.generates)
    run = RunDirectory(config.run_dir)
    with RunLock(run.path), naming_the_cause(run):
        open_run(run, plan, placement, cluster, console, resume=resume)
        telemetry = open_telemetry(plan, run, console)
        try:
            asyncio.run(_drive(plan, placement, run, telemetry, console, resume=resume))
        finally:
            close(console, telemetry, ending())
        report = finish(run, console)
    console.say(f"report: {report}")
    return report


def open_run(
    run: RunDirectory,
    plan: Plan,
    placement: Placement,
    cluster: Cluster,
    console: RunConsole,
    *,
    resume: bool,
) -> None:
    """Make or check the run's directory; the console shows the plan."""
    notes = run.create(plan.config, resume=resume, digests=plan.digests)
    opened = keep_token(run, cluster)
    grace = grace_note(plan.config.faults.stop_within, os.environ)
    notes = [*filter(None, (placement.note, grace)), *notes]
    console.keep_log(run.logs / "progress.log")
    cluster_lines = [("cluster", cluster.describe()), ("logs", cluster.describe_logs(run.logs))]
    console.plan([*plan.lines(), *cluster_lines, *opened, *(("", note) for note in notes)])


def open_telemetry(plan: Plan, run: RunDirectory, console: RunConsole) -> Telemetry:
    """The run's metrics and boards."""
    boards = open_boards(plan.config, plan.model.architecture.name, run.logs, console.say)
    return Telemetry(plan.config.run.name, plan.config.loop.steps, boards)


def ending() -> Ending:
    """Within `finally`: how the run ends."""
    error = sys.exc_info()[1]
    if error is None:
        return "finished"
    return "stopped" if isinstance(error, StoppedOnRequest) else "failed"


def close(console: RunConsole, telemetry: Telemetry, ending: Ending) -> None:
    """Whatever ended the run. Trackers get some seconds to send their last figures."""
    console.done()
    telemetry.close(ending)


def finish(run: RunDirectory, console: RunConsole) -> Path:
    """The table and the report of a run that has ended; returns the report's path."""
    console.results(run.read_evals())
    return write_report(run.path)


@contextlib.contextmanager
def naming_the_cause(run: RunDirectory) -> Iterator[None]:
    """Turn what a disk did to the run into an error that says so."""
    try:
        yield
    except MedrayError:
        raise
    except Exception as error:
        if not run.path.is_dir():
            why = "the run directory has vanished while the run was going on"
            raise RunFailed(str(run.path), why, "restore it, or start the run anew") from error
        if fault := disk_fault(error):
            raise fault from error
        raise


async def _drive(
    plan: Plan,
    placement: Placement,
    run: RunDirectory,
    telemetry: Telemetry,
    console: RunConsole,
    *,
    resume: bool,
) -> None:
    budget = RestartBudget(plan.config.faults, console.say, telemetry.restart)
    stop = Stop(plan.config.faults.stop_within)
    with stop.on_signals():
        async with Fleet(plan.config, placement, budget, generators=plan.generates) as fleet:
            console.status(LOADING)
            driver = Driver(plan, fleet, run, telemetry, console, stop)
            async with driver.departures.watched():
                await stop.cancel_on_stop(fleet.start())
                await driver.run(resume=resume)
