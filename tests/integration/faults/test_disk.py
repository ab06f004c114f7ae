"""A disk that is full, and a run directory that vanishes, while a real run goes on."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.support.processes.disks import filled, small_disk
from tests.support.processes.killing import Disturbed, require_whole

# Two runs of a minute each, and a file system of their own.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

__all__ = ["small_disk"]

STEPS = 30
SMALL = (
    *("configs/quickstart.yaml", "eval.n=4", "eval.every=0", "data.limit=50", "loop.batch=8"),
    *(f"loop.steps={STEPS}", "loop.checkpoint_every=2"),
)


def started(output: Path) -> Disturbed:
    run = Disturbed(output, SMALL, random.Random(0))
    run.launch()
    for _ in range(3):
        assert run.wait_for_progress(), run.text()
    return run


def last_line(text: str) -> str:
    return next(line for line in reversed(text.splitlines()) if line.startswith("medray: "))


def test_a_full_disk_ends_the_run_with_its_cause_and_room_lets_it_go_on(small_disk):
    run = started(small_disk)
    with filled(small_disk):
        done = run.finish(120)
    text = done.out
    assert done.code == 3, text
    assert "Traceback" not in text
    assert "space" in last_line(text), text
    run.launch(resume=True)
    done = run.finish(300)
    assert done.code == 0, done.out
    require_whole(done, STEPS, lag=0)


def test_a_run_directory_that_vanishes_is_the_cause(tmp_path):
    run = started(tmp_path)
    shutil.rmtree(run.run, ignore_errors=True)
    shutil.rmtree(run.run, ignore_errors=True)  # what was written in between
    done = run.finish(120)
    assert done.code == 3, done.out
    assert "Traceback" not in done.out
    assert "vanished" in last_line(done.out), done.out
