"""Requests beyond the cluster are refused, and responses of an older policy are dropped."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.paths import ROOT
from tests.support.processes.running import Finished, launch

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

SMALL = ("eval.n=8", "eval.every=0", "loop.checkpoint_every=0", "run.name=run")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [("learner.world_size=64", "needs 64 CPUs"), ("generator.tensor_parallel=2", "no GPU")],
)
def test_more_than_the_cluster_has_is_refused(tmp_path, override, complaint):
    done = launch(tmp_path, "configs/quickstart.yaml", override)
    assert done.code == 2
    assert complaint in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not done.path.exists()


@pytest.mark.chaos
def test_an_older_response_is_dropped(tmp_path):
    """The driver itself, on a fleet whose generator returns one answer of the version before."""
    import ray

    from actors.fleet import Fleet, RestartBudget, plan_placement
    from actors.loop.driver import Driver
    from actors.loop.telemetry import Telemetry
    from medray.config import load_config
    from medray.plan import make_plan
    from medray.report.console import RunConsole
    from medray.rundir import RunDirectory

    injected: list[str] = []

    def with_late_responses(run):
        """`Pool.run`, the first response of each training part a version older than it is."""

        async def late_run(submit, on_part=None, **trial):
            def late(part):
                first, *others = part
                if first.item_id.startswith("s0") and first.policy_version > 0:
                    injected.append(first.item_id)
                    first = replace(first, policy_version=first.policy_version - 1)
                on_part([first, *others])

            return await run(submit, on_part and late, **trial)

        return late_run

    overrides = [f"run.output={tmp_path}", "loop.steps=3", "loop.batch=8", *SMALL]
    plan = make_plan(load_config(ROOT / "configs/quickstart.yaml", overrides))
    run = RunDirectory(plan.config.run_dir)
    run.create(plan.config)

    async def drive():
        telemetry, console = Telemetry("late"), RunConsole(3)
        budget = RestartBudget(plan.config.faults, console.say)
        async with Fleet(plan.config, plan_placement(plan.config), budget) as fleet:
            fleet.generators.run = with_late_responses(fleet.generators.run)
            await fleet.start()
            await Driver(plan, fleet, run, telemetry, console).run(resume=False)

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        asyncio.run(drive())
    finally:
        ray.shutdown()
    done = Finished(0, "", "", run.path)
    rows = {row["pair_id"]: row for row in done.ledger()}
    assert len(injected) == 2
    for pair_id in injected:
        row = rows[pair_id]
        assert (row["status"], row["drop_reason"]) == ("dropped", "stale")
        assert row["policy_version"] == row["step"] - 2
    others = [row for row in rows.values() if row["pair_id"] not in injected]
    assert all(row["policy_version"] == row["step"] - 1 for row in others)
