"""A disk that is full, and a run directory that vanishes, while a real run goes on."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes.killing import Disturbed, require_whole

# Two runs of a minute each, and a file system of their own.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

STEPS = 30
SMALL = (
    *("configs/quickstart.yaml", "eval.n=4", "eval.every=0", "data.limit=50", "loop.batch=8"),
    *(f"loop.steps={STEPS}", "loop.checkpoint_every=2"),
)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 150 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=150m", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


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
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    done = run.finish(120)
    text = done.out
    assert done.code == 3, text
    assert "Traceback" not in text
    assert "space" in last_line(text), text
    filler.unlink()
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
