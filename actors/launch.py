"""From a checked plan to a finished run: cluster, fleet, loop, report."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

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
from medray.errors import ResourceError, UserError
from medray.plan import Plan
from medray.report import write_report
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


def launch(plan: Plan, *, resume: bool, address: str | None, quiet: bool = False) -> Path:
    """Run the plan; returns the path of its report. Nothing that it starts outlives the call."""
    config = plan.config
    console = RunConsole(config.loop.steps, quiet=quiet)
    if address is None and "RAY_ADDRESS" not in os.environ:
        plan_placement(config, this_machine())  # refuse before a local cluster is started
    with cluster(address) as ours:
        placement = plan_placement(config)
        run = RunDirectory(config.run_dir)
        run.create(config, resume=resume)
        opened = _keep_token(run, ours.token)
        console.plan([*plan.lines(), ("cluster", ours.describe()), *opened])
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
    with cluster(address):
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


@dataclass(frozen=True, slots=True)
class Cluster:
    """Address of the dashboard, and the token that opens it if it was made for this run."""

    dashboard: str
    token: str | None

    def describe(self) -> str:
        total = ray.cluster_resources()
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        size = f"{nodes} node(s), {total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs"
        return f"{size}, dashboard http://{self.dashboard}" if self.dashboard else size


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[Cluster]:
    """Connect to the given cluster or the job's own; otherwise start a local one."""
    # Children (vLLM workers, compilers) must die with their actor.
    os.environ.setdefault("RAY_process_group_cleanup_enabled", "true")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    token = None if address or "RAY_ADDRESS" in os.environ else _own_token()
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ResourceError(
            f"--address {address}", f"no Ray cluster there ({error})", "check `ray status`"
        ) from None
    try:
        yield Cluster(context.dashboard_url or "", token)
    finally:
        ray.shutdown()


def _own_token() -> str | None:
    """A token for a local cluster of one run, if the user has none.

    Ray would write one to the home directory, and from then on `ray start` would require it of
    every `ray job submit`.
    """
    given = any(name.startswith("RAY_AUTH_") for name in os.environ)
    if given or (Path.home() / ".ray" / "auth_token").exists():
        return None
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    return os.environ["RAY_AUTH_TOKEN"]


def _keep_token(run: RunDirectory, token: str | None) -> list[tuple[str, str]]:
    """Write the token where only the user can read it; returns the plan line that says where."""
    if token is None:
        return []
    path = run.logs / "dashboard-token"
    path.touch(mode=0o600)
    path.write_text(token + "\n")
    return [("", f"the dashboard's token is in {path}")]
