"""A run that continues an adapter is stopped by SIGTERM and resumed: it ends as one run."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from medray.config import LoraConfig
from tests.support.models.adapters import save_adapter
from tests.support.paths import ROOT
from tests.support.processes.running import Finished, environment, medray

# loop/test_faults.py stops and resumes a run, too: here with an adapter and targeting.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

STEPS, BATCH = 6, 8


@dataclass(frozen=True)
class Interrupted:
    """Steps done when it stopped, both ends of the command, and the run."""

    steps: int
    stopped: Finished
    resumed: Finished


@pytest.fixture(scope="module", params=[(1, "adapter"), (2, "full")], ids=str)
def run(request, tmp_path_factory) -> Interrupted:
    """Stopped once the first row of metrics is there, then resumed."""
    ranks, sync = request.param
    folder = tmp_path_factory.mktemp("interrupted")
    adapter = save_adapter(folder / "adapter", "bfloat16", LoraConfig(rank=16, alpha=32), 0.02)
    arguments = (
        "launch",
        "configs/quickstart.yaml",
        f"run.output={folder}",
        "run.name=run",
        f"model.adapter={adapter}",
        f"loop.sync={sync}",
        f"loop.steps={STEPS}",
        f"loop.batch={BATCH}",
        "loop.checkpoint_every=0",
        "eval={every: 0, n: 64}",
        "objective={name: dpo}",
        f"learner.world_size={ranks}",
        "targeting.strength=0.8",
    )
    path = folder / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "medray.cli", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not (path / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    steps = len((path / "metrics.jsonl").read_text().splitlines())
    latest = (path / "checkpoints" / "latest").read_text().strip()
    assert latest == f"step-{steps:06d}"
    again = medray(*arguments, "--resume")
    return Interrupted(
        steps,
        Finished(process.returncode, out, err, path),
        Finished(again.returncode, again.stdout, again.stderr, path),
    )


def test_sigterm_stops_after_a_checkpoint(run):
    assert run.stopped.code == 75, run.stopped.err
    assert 1 <= run.steps < STEPS


def test_resume_continues_from_there_and_every_step_is_done_once(run):
    assert run.resumed.code == 0, run.resumed.err
    assert f"continuing from step-{run.steps:06d}" in run.resumed.out
    metrics, rows = run.resumed.metrics(), run.resumed.ledger()
    assert [row["step"] for row in metrics] == list(range(1, STEPS + 1))
    assert [row["policy_version"] for row in metrics] == list(range(STEPS))
    assert all(row["logp_gap"] < 0.05 for row in metrics)
    assert len({row["pair_id"] for row in rows}) == len(rows)
    assert len({row["item_id"] for row in rows}) == STEPS * BATCH
    assert sorted(run.resumed.evals()) == [0, STEPS]


def test_errors_counted_before_the_stop_are_targeted_after_it(run):
    rows = run.resumed.ledger()
    assert [row for row in rows if row["response_was_correct"] and "aimed" in row["editor"]]
    assert run.resumed.metrics()[-1]["targeting_side"] > 0
    path = run.resumed.path / "checkpoints" / f"step-{STEPS:06d}" / "state.json"
    state = json.loads(path.read_text())
    assert state["tally"]["side"]["wrong"] > 0
    assert state["position"] > STEPS * BATCH  # more cases were considered than drawn


def test_generators_begin_with_the_adapter_and_it_is_the_reference(run, quickstart):
    first, second = run.resumed.metrics()[:2]
    assert first["reward_margin"] == pytest.approx(0, abs=1e-3)
    of_first = [row for row in run.resumed.ledger() if row["step"] == 1]
    weights = [row["relevance"] for row in of_first if row["status"] == "trained"]
    assert first["loss"] == pytest.approx(math.log(2) * sum(weights) / len(weights), rel=1e-3)
    assert second["reward_margin"] > 0
    shipped = quickstart.evals()[0]["report_exact"]
    assert abs(run.resumed.evals()[0]["report_exact"] - shipped) > 0.05, "version 0 has no adapter"
