"""From a checked plan to a finished run: cluster, fleet, loop, report."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from actors.cluster import Cluster, connect, keep_token
from actors.fleet import Fleet, Placement, RestartBudget, plan_placement, this_machine
from actors.loop.driver import Driver
from actors.loop.evaluation import before_and_after
from actors.loop.telemetry import Telemetry
from medray.plan import Plan
from medray.report import write_report
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


def launch(
    plan: Plan, *, resume: bool, address: str | None, dashboard: bool = False, quiet: bool = False
) -> Path:
    """Run the plan; returns the path of its report. Nothing that it starts outlives the call."""
    config = plan.config
    console = RunConsole(config.loop.steps, quiet=quiet)
    if address is None and "RAY_ADDRESS" not in os.environ:
        plan_placement(
            config, this_machine(), generators=plan.generates
        )  # refuse before a local cluster is started
    with connect(address, dashboard=dashboard) as cluster:
        return run_on(cluster, plan, console, resume=resume)


def run_on(cluster: Cluster, plan: Plan, console: RunConsole, *, resume: bool) -> Path:
    """Run the plan on a cluster that is connected; returns the path of its report."""
    config = plan.config
    placement = plan_placement(config, generators=plan.generates)
    run = RunDirectory(config.run_dir)
    run.create(config, resume=resume, digests=plan.digests)
    opened = keep_token(run, cluster)
    unused = [("", placement.note)] if placement.note else []
    console.plan([*plan.lines(), ("cluster", cluster.describe()), *unused, *opened])
    telemetry = Telemetry(config.run.name, run.logs)
    try:
        asyncio.run(_drive(plan, placement, run, telemetry, console, resume=resume))
    finally:
        console.done()
        telemetry.close()
    if evaluated := before_and_after(run):
        console.table(evaluated)
    report = write_report(run.path)
    console.say(f"report: {report}")
    return report


async def _drive(
    plan: Plan,
    placement: Placement,
    run: RunDirectory,
    telemetry: Telemetry,
    console: RunConsole,
    *,
    resume: bool,
) -> None:
    budget = RestartBudget(plan.config.faults, console.say)
    async with Fleet(plan.config, placement, budget, generators=plan.generates) as fleet:
        console.status("loading the model in every actor")
        await fleet.start()
        await Driver(plan, fleet, run, telemetry, console).run(resume=resume)
