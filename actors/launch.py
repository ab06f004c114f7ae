"""From a checked plan to a finished run: the cluster, the fleet, the loop, the report."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import ray

from actors.checkpoint import find_damage, read_weights
from actors.driver import Driver, before_and_after, evaluate_policy
from actors.fleet import Fleet
from actors.resources import place
from actors.telemetry import Telemetry
from medray.data.stream import of_studies
from medray.errors import ResourceError, UserError
from medray.plan import Plan
from medray.report import write_report
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


def launch(plan: Plan, *, resume: bool, address: str | None) -> Path:
    """The whole run; returns the path of its report. Nothing of it outlives the call."""
    config = plan.config
    console = RunConsole(config.loop.steps)
    with cluster(address):
        placement = place(config)
        run = RunDirectory(config.run_dir)
        run.create(config, resume=resume)
        console.plan([*plan.lines(), ("cluster", _cluster_line())])
        telemetry = Telemetry(config.run.name, run.logs)
        try:
            with Fleet(config, placement) as fleet:
                console.status("loading the model in every actor")
                fleet.wait_until_ready()
                Driver(plan, fleet, run, telemetry, console).run(resume=resume)
        finally:
            console.done()
            telemetry.close()
    console.table(before_and_after(run))
    report = write_report(run.path)
    console.say(f"report: {report}")
    return report


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
    with cluster(address), Fleet(config, place(config), learners=False) as fleet:
        fleet.wait_until_ready()
        fleet.send(manifest, shards)
        cases = of_studies(plan.dataset.heldout, config.eval.n)
        return evaluate_policy(fleet, cases, manifest.version)


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to the cluster given (or the job's own); start a local one where there is none."""
    # Children (vLLM workers, compilers) must die with their actor.
    os.environ.setdefault("RAY_process_group_cleanup_enabled", "true")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ResourceError(
            f"--address {address}", f"no Ray cluster there ({error})", "check `ray status`"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _cluster_line() -> str:
    total = ray.cluster_resources()
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    url = ray.get_dashboard_url() if hasattr(ray, "get_dashboard_url") else ""
    dashboard = f", dashboard http://{url}" if url else ""
    return f"{nodes} node(s), {total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs{dashboard}"
