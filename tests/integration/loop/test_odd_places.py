"""A run, its evaluation and its export where nothing is as usual: no home, ASCII, odd paths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes.running import environment

# Three starts of actors for what no other run shows; cli/test_light_commands.py has the rest.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "Études of John's"
    folder.mkdir()
    return folder


def run(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with a stdout that is closed."""
    scratch = here / ("long-" * 40)
    scratch.mkdir(exist_ok=True)
    odd = {"HOME": "/proc/1", "TMPDIR": str(scratch), "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    return subprocess.run(
        ["bash", "-c", '"$@" >&-', "bash", sys.executable, "-m", "medray.cli", *arguments],
        cwd=here,
        env=environment() | odd | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        umask=0o077,
        timeout=600,
        check=False,
    )


def test_launch_check_eval_and_export(here):
    config = str(ROOT / "configs/quickstart.yaml")
    small = ("loop.steps=1", "eval.n=4", "data.limit=24", "run.output=é runs", "run.name=r")
    made = str(here / "é runs/r")
    for arguments in (
        ("check", config, *small),
        ("launch", config, *small),
        ("report", made),
        ("eval", f"{made}/config.yaml", "--checkpoint", made, "--answers", "é.jsonl"),
        ("export", made, "-o", "exported é"),
    ):
        done = run(here, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        assert "Traceback" not in done.stderr, arguments
    assert (here / "exported é/model.safetensors").exists()
    scratch = here / ("long-" * 40)
    assert not list(scratch.glob("medray*"))
    assert os.listdir(here / "é runs/r/eval")
