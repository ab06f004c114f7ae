"""A study killed half-way and started again; a cell on reused actors beside the same run alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.processes.running import Finished, environment, medray

# Five starts of all actors. generator/test_weight_transfer.py and learner/test_reset.py have what
# an actor keeps from one run to the next.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

CELLS = ("sft", "fire", "dpo")
STUDY = {
    "study": {"name": "s"},
    "base": "quickstart.yaml",
    "set": {
        "loop": {"steps": 4, "batch": 8, "checkpoint_every": 1},
        "eval": {"every": 0, "n": 16},
        "data.limit": 96,
    },
    "grid": {"objective.name": list(CELLS)},
    "baseline": {"objective.name": "sft"},
}


def kill_in_second_cell(arguments: list[str], cells: Path) -> None:
    """SIGKILL to the command and all it started, with one cell done and another begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "medray.cli", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    metrics, deadline = cells / CELLS[1] / "metrics.jsonl", time.monotonic() + 400
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 2):
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The study's folder, after the second start; and what the first cell was before it."""
    folder = tmp_path_factory.mktemp("study")
    file = folder / "s.yaml"
    head = {**STUDY["study"], "output": str(folder)}
    file.write_text(yaml.safe_dump({**STUDY, "study": head}, sort_keys=False))
    arguments = ["study", str(file)]
    kill_in_second_cell(arguments, folder / "s/cells")
    first = folder / "s/cells/sft/metrics.jsonl"
    before = first.read_text(), first.stat().st_mtime_ns
    done = medray(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert (first.read_text(), first.stat().st_mtime_ns) == before, "a finished cell ran again"
    assert "2 to run" in done.stdout
    return folder / "s"


def run_of(study: Path, cell: str) -> Finished:
    return Finished(0, "", "", study / "cells" / cell)


def test_every_cell_has_every_step_once(study):
    for cell in CELLS:
        run = run_of(study, cell)
        assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4]
        ids = {row["item_id"] for row in run.ledger()}
        assert len(ids) == 4 * 8
        assert sorted(run.evals()) == [0, 4]
    rows = pq.read_table(study / "results.parquet").to_pylist()
    assert {row["status"] for row in rows} == {"done"}
    for name in ("table.md", "table.csv", "table.tex", "study.html", "methods.md"):
        assert (study / name).stat().st_size > 200


def test_the_next_cell_began_on_the_actors_of_the_one_before(study):
    starts = json.loads((study / "starts.json").read_text())
    assert starts["sft"]["new_actors"] == starts["fire"]["new_actors"] == "the first run"
    assert starts["dpo"]["new_actors"] == ""
    assert starts["dpo"]["start_seconds"] < starts["fire"]["start_seconds"]


def test_it_gave_what_it_gives_on_new_actors(study, tmp_path):
    """The same ledger, metrics and answers, to the last bit."""
    config = study / "cells/dpo/config.yaml"
    done = medray("launch", str(config), f"run.output={tmp_path}", "run.name=alone")
    assert done.returncode == 0, done.stderr
    alone, cell = Finished(0, "", "", tmp_path / "alone"), run_of(study, "dpo")
    assert alone.ledger() == cell.ledger()
    assert untimed(alone.metrics()) == untimed(cell.metrics())
    for step in (0, 4):
        name = f"eval/step-{step:06d}.answers.parquet"
        answers = [pq.read_table(run.path / name).to_pylist() for run in (alone, cell)]
        assert answers[0] == answers[1]


def untimed(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if not k.startswith("t_")} for row in rows]
