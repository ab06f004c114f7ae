"""Bad items, bad requests, old responses, a stop and a resume: nothing hangs, nothing is lost."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.support.paths import ROOT
from tests.support.processes.running import Finished, environment, launch, medray

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

SMALL = ("eval.n=8", "eval.every=0", "loop.checkpoint_every=0", "run.name=run")


def test_bad_items_are_dropped_with_their_reasons(tmp_path):
    """A folder in which every second row is bad in its own way; the run trains on the rest."""
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    rows = []

    def row(name: str, **fields) -> None:
        given = {
            "id": name,
            "image": f"{name}.png",
            "question": "Is there a nodule?",
            "answer": "No",
            "split": "train",
        }
        rows.append(given | fields)
        Image.fromarray(rng.integers(0, 255, (60, 50, 3), dtype=np.uint8)).save(
            data / f"{name}.png"
        )

    for i in range(6):
        row(f"good-{i}")
    row("heldout", split="heldout")
    row("empty-answer", answer=" ")
    row("long", question="Is there a nodule? " * 400)
    row("missing", image="nowhere.png")
    row("truncated")
    row("zero")
    picture = (data / "truncated.png").read_bytes()
    (data / "truncated.png").write_bytes(picture[: len(picture) // 2])
    (data / "zero.png").write_bytes(b"")
    lines = "\n".join(json.dumps(r) for r in rows)
    (data / "records.jsonl").write_text(lines + "\n")

    done = launch(
        tmp_path,
        "configs/quickstart.yaml",
        "data.kind=jsonl",
        f"data.path={data}",
        "corruption.region=lesion-or-whole",
        "data.limit=null",
        "loop.steps=2",
        "loop.batch=11",
        *SMALL,
    )
    assert done.code == 0, done.err
    reasons = {
        row["case_id"]: row["drop_reason"]
        for row in done.ledger()
        if not row["case_id"].startswith("good")
    }
    assert reasons == {
        "empty-answer": "empty-reference",
        "long": "prompt-too-long",
        "missing": "image-missing",
        "truncated": "image-truncated",
        "zero": "image-empty",
    }
    assert sum(row["pairs_trained"] for row in done.metrics()) >= 2
    assert all(
        row["pairs_issued"] == row["pairs_trained"] + row["pairs_dropped"] for row in done.metrics()
    )


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

        async def late_run(submit, on_part=None):
            def late(part):
                first, *others = part
                if first.item_id.startswith("s0") and first.policy_version > 0:
                    injected.append(first.item_id)
                    first = replace(first, policy_version=first.policy_version - 1)
                on_part([first, *others])

            return await run(submit, on_part and late)

        return late_run

    overrides = [f"run.output={tmp_path}", "loop.steps=3", "loop.batch=8", *SMALL]
    plan = make_plan(load_config(ROOT / "configs/quickstart.yaml", overrides))
    run = RunDirectory(plan.config.run_dir)
    run.create(plan.config)

    async def drive():
        telemetry, console = Telemetry("late", run.logs), RunConsole(3)
        budget = RestartBudget(plan.config.faults, console.say)
        async with Fleet(plan.config, plan_placement(plan.config), budget) as fleet:
            fleet.generators.run = with_late_responses(fleet.generators.run)
            await fleet.start()
            await Driver(plan, fleet, run, telemetry, console).run(resume=False)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
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


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.chaos)])
def test_sigterm_stops_after_a_checkpoint_and_resume_continues(tmp_path, ranks):
    """Exit code 75; the resumed run ends as one run: every step once, the ledger balanced."""
    overrides = (
        f"run.output={tmp_path}",
        "loop.steps=6",
        "loop.batch=8",
        *SMALL,
        f"learner.world_size={ranks}",
        "model.lora={rank: 4}",
        "loop.sync=adapter",
        "targeting.strength=0.8",
    )
    path = tmp_path / "run"
    command = [sys.executable, "-m", "medray.cli", "launch", "configs/quickstart.yaml", *overrides]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = path / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    stopped = len(metrics.read_text().splitlines())
    assert 1 <= stopped < 6
    assert (path / "checkpoints" / "latest").read_text().strip() == f"step-{stopped:06d}"

    resumed = medray("launch", "configs/quickstart.yaml", *overrides, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"continuing from step-{stopped:06d}" in resumed.stdout
    done = Finished(0, "", "", path)
    assert [row["step"] for row in done.metrics()] == list(range(1, 7))
    assert [row["policy_version"] for row in done.metrics()] == list(range(6))
    assert all(row["logp_gap"] < 0.05 for row in done.metrics())
    rows = done.ledger()
    assert len({row["pair_id"] for row in rows}) == len(rows) == 48
    assert sorted(done.evals()) == [0, 6]
    aimed = [row for row in rows if row["response_was_correct"] and "aimed" in row["editor"]]
    assert aimed  # the counts of the first life were followed in the second
    assert done.metrics()[-1]["targeting_side"] > 0
    state = json.loads((path / "checkpoints" / "step-000006" / "state.json").read_text())
    assert state["tally"]["side"]["wrong"] > 0
    assert state["position"] > 48  # more cases were considered than drawn
