"""From a checked plan to a finished run: cluster, fleet, loop, report."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import ray

from actors.cluster import connect, keep_token
from actors.fleet import (
    Fleet,
    Placement,
    RestartBudget,
    Rollouts,
    WeightUpdate,
    plan_placement,
    this_machine,
)
from actors.loop.driver import Driver
from actors.loop.evaluation import before_and_after, evaluate_policy
from actors.loop.telemetry import Telemetry
from actors.weights.checkpoint import find_damage, read_weights
from actors.weights.manifest import Manifest, Shard
from medray.config import Config
from medray.data.stream import first_studies
from medray.errors import UserError
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
        plan_placement(config, this_machine())  # refuse before a local cluster is started
    with connect(address, dashboard=dashboard) as cluster:
        placement = plan_placement(config)
        run = RunDirectory(config.run_dir)
        run.create(config, resume=resume, digests=plan.digests)
        opened = keep_token(run, cluster)
        console.plan([*plan.lines(), ("cluster", cluster.describe()), *opened])
        telemetry = Telemetry(config.run.name, run.logs)
        try:
            asyncio.run(_drive(plan, placement, run, telemetry, console, resume=resume))
        finally:
            console.done()
            telemetry.close()
    console.table(before_and_after(run))
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
    async with Fleet(plan.config, placement, budget) as fleet:
        console.status("loading the model in every actor")
        await fleet.start()
        await Driver(plan, fleet, run, telemetry, console).run(resume=resume)


def evaluate_checkpoint(
    plan: Plan, checkpoint: Path, *, address: str | None
) -> tuple[dict[str, object], dict[str, str]]:
    """Metrics and answers of one checkpoint on the plan's held-out studies."""
    problem = find_damage(checkpoint)
    if problem:
        raise UserError(f"--checkpoint {checkpoint}", problem, "give a step-NNNNNN directory")
    manifest, shards = read_weights(checkpoint)
    sync: dict[str, object] = {"sync": manifest.mode}
    loop = plan.config.loop.model_copy(update=sync)
    config = plan.config.model_copy(update={"loop": loop})
    with connect(address):
        return asyncio.run(_evaluate(plan, config, manifest, shards))


async def _evaluate(
    plan: Plan, config: Config, manifest: Manifest, shards: Sequence[Shard]
) -> tuple[dict[str, object], dict[str, str]]:
    console = RunConsole(0)
    budget = RestartBudget(config.faults, console.say)
    async with Fleet(config, plan_placement(config), budget, learners=False) as fleet:
        await fleet.start()
        fleet.offer(WeightUpdate(manifest, [ray.put(shard) for shard in shards]))
        cases = first_studies(plan.dataset.heldout, config.eval.n)
        return await evaluate_policy(Rollouts(fleet), cases, manifest.version)
