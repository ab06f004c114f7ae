"""Actors are killed while a run goes on: it ends as if nothing had happened."""

import os
import random
import signal
import time

import pytest

from tests.support.processes.killing import KINDS, Disturbed, fates, require_whole
from tests.support.processes.running import launch, medray

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

SMALL = (
    "configs/quickstart.yaml",
    "eval.n=8",
    "eval.every=0",
    "loop.batch=12",
    "generator.replicas=2",
)


def test_each_kind_is_killed_and_the_command_is_stopped(tmp_path, quickstart):
    """Generator, editor and learner, one after the other, in an overlapped loop, then SIGTERM: the
    same items get their end as in the quickstart that nobody disturbs, each once."""
    steps = 12
    arguments = (
        "configs/quickstart.yaml",
        "eval.n=8",
        "eval.every=0",
        f"loop.steps={steps}",
        "loop.checkpoint_every=2",
        "loop.max_lag=1",
        "loop.importance_clip=2.0",
    )
    disturbed = Disturbed(tmp_path, arguments, random.Random(0))
    disturbed.launch()
    for kind in KINDS:
        assert disturbed.wait_for_progress()
        assert disturbed.kill_one(kind)
        disturbed.wait_for_cause(kind)
    assert disturbed.wait_for_progress()
    disturbed.stop_command()
    before = disturbed.text()
    last = disturbed.lines()
    latest = (disturbed.run / "checkpoints/latest").read_text().strip()
    assert latest == f"step-{last:06d}", "stopped without a checkpoint of its last step"
    for kind in KINDS:
        assert before.count(f"{kind}(") == 1, before  # the cause, once
    assert before.count("died: its process ended unexpectedly") == 3
    disturbed.launch(resume=True)
    done = disturbed.finish()
    assert done.code == 0, done.out
    assert "continuing from step-" in done.out
    require_whole(done, steps, lag=1, unsent=1)
    assert fates(done) == {fate for fate in fates(quickstart) if fate[0] < f"s{steps + 1:06d}"}
    assert all(0.5 <= row["importance_mean"] <= 2.0 for row in done.metrics())


@pytest.mark.chaos
def test_without_a_learner_restart_the_run_ends_with_its_cause(tmp_path):
    arguments = (*SMALL, "loop.steps=200", "loop.checkpoint_every=1", "faults.learner=0")
    disturbed = Disturbed(tmp_path, arguments, random.Random(1))
    disturbed.launch()
    assert disturbed.wait_for_progress()
    assert disturbed.wait_for_progress()
    disturbed.kill_one("Learner")
    done = disturbed.finish(120)
    assert done.code == 3
    assert "Learner(rank=0)" in done.out
    assert "not restarted, faults.learner = 0" in done.out
    assert (done.path / "checkpoints" / "latest").exists()


@pytest.mark.chaos
def test_without_a_generator_the_run_ends_with_a_checkpoint(tmp_path):
    """Nobody can answer any more, the learner is well: what it has learnt is kept."""
    arguments = (*SMALL, "loop.steps=200", "loop.checkpoint_every=0", "faults.generator=0")
    disturbed = Disturbed(tmp_path, arguments, random.Random(2))
    disturbed.launch()
    assert disturbed.wait_for_progress()
    for process in disturbed.actors("Generator"):
        process.send_signal(signal.SIGKILL)
    done = disturbed.finish(120)
    assert done.code == 3
    assert "no Generator is left" in done.out
    last = done.metrics()[-1]["step"]
    assert (done.path / "checkpoints" / "latest").read_text().strip() == f"step-{last:06d}"


@pytest.mark.chaos
def test_a_request_to_stop_before_the_first_step(tmp_path):
    disturbed = Disturbed(tmp_path, (*SMALL, "loop.steps=5"), random.Random(4))
    disturbed.launch()
    deadline = time.monotonic() + 240
    while "evaluating step 0" not in disturbed.text() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(disturbed.process.pid, signal.SIGTERM)
    done = disturbed.finish(60)
    assert done.code == 75, done.out
    learnt = (done.path / "metrics.jsonl").exists()  # its first step may have been on its way
    assert bool(list((done.path / "checkpoints").iterdir())) == learnt
    resumed = medray(
        "launch", *SMALL, "loop.steps=1", f"run.output={tmp_path}", "run.name=run", "--resume"
    )
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1])
def test_twenty_kills(tmp_path, seed):
    """Random kinds at random moments, some while the last victim is still coming back."""
    steps, wanted = 80, 20
    budget = tuple(f"faults.{kind}=100" for kind in ("generator", "editor", "learner"))
    arguments = (
        *SMALL,
        f"loop.steps={steps}",
        "loop.checkpoint_every=2",
        f"loop.max_lag={seed}",
        *budget,
    )
    plain = launch(tmp_path, *arguments, "run.name=plain", timeout=900)
    assert plain.code == 0, plain.err
    disturbed = Disturbed(tmp_path, arguments, random.Random(seed))
    print(f"seed {seed}")
    disturbed.launch()
    at_once = False
    while not disturbed.ended and len(disturbed.kills) < wanted + 4:
        if not at_once and not disturbed.wait_for_progress():
            break
        time.sleep(disturbed.rng.uniform(0.0, 1.5))
        if disturbed.rng.random() < 0.1:
            disturbed.kill_command()
            disturbed.launch(resume=True)
        else:
            disturbed.kill_one(disturbed.rng.choice(KINDS))
        at_once = disturbed.rng.random() < 0.2
    done = disturbed.finish(1800)
    print(f"killed {len(disturbed.kills)}: {' '.join(disturbed.kills)}")
    assert done.code == 0, done.out
    assert len(disturbed.kills) >= wanted
    require_whole(done, steps, lag=seed)
    assert fates(done) == fates(plain)


@pytest.mark.chaos
def test_losses_that_are_never_finite_end_the_run(tmp_path):
    """A β at which every gradient overflows: nothing is learnt, everything is accounted for."""
    done = launch(tmp_path, *SMALL, "loop.steps=20", "loop.batch=8", "objective.beta=1e38")
    assert done.code == 3, done.out
    assert "5 non-finite losses in a row" in done.err
    rows = done.ledger()
    assert len({row["item_id"] for row in rows}) == 40
    assert all(row["status"] != "trained" and row["drop_reason"] for row in rows)
    assert any(row["drop_reason"] == "non-finite-loss" for row in rows)
    assert [row["policy_version"] for row in done.metrics()] == [0] * 5
    assert all(row["sync_bytes"] == 0 for row in done.metrics())
