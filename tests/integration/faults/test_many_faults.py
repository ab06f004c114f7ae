"""Forty random faults in eighty steps, and cases that kill: the run completes, or stops with its
cause and goes on; every item ends once, as in the run that met nothing but those cases."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from actors.fleet.cases import REASON
from tests.support.processes.disks import filled, small_disk
from tests.support.processes.killing import KINDS, Disturbed, fates, require_whole
from tests.support.processes.running import launch

# dozens of kills of complete runs: an hour on two cores
pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed, pytest.mark.chaos]

__all__ = ["small_disk"]

STEPS, FAULTS = 80, 40
FAULT_KINDS = (
    *("kill", "kill", "stop", "freeze", "driver", "gcs_server", "raylet"),
    *("full disk", "vanished directory"),
)
SMALL = (
    "configs/quickstart.yaml",
    "eval.n=8",
    "eval.every=0",
    "loop.batch=8",
    "data.limit=150",
    f"loop.steps={STEPS}",
    "loop.checkpoint_every=2",
    "faults.deadline=25",
    *(f"faults.{kind}=200" for kind in ("generator", "editor", "learner")),
)


def plant(data: Path, rng: random.Random) -> set[str]:
    """Two in a hundred of the training cases point at an image that kills who reads it."""
    rows = [json.loads(line) for line in (data / "records.jsonl").read_text().splitlines()]
    train = [row for row in rows if row["split"] == "train"]
    bad = rng.sample(train, max(1, len(train) // 50))
    for row in bad:
        row["question"] += " KILL"  # see sitecustomize below
    (data / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {row["id"] for row in bad}


KILLER = """
import os, sys
if "default_worker" in " ".join(sys.orig_argv):
    import importlib.abc, importlib.machinery
    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name != "actors.editor.encoder":
                return None
            sys.meta_path.remove(self)
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            run = spec.loader.exec_module
            def exec_module(module):
                run(module)
                check = module._check_text
                def killing(case):
                    if case.question.endswith(" KILL"):
                        os.kill(os.getpid(), 9)
                    check(case)
                module._check_text = killing
            spec.loader.exec_module = exec_module
            return spec
    sys.meta_path.insert(0, Finder())
"""


def wait_for_end(run: Disturbed) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.process.wait(timeout=180)
    assert run.ended, run.text()


def disturb(run: Disturbed) -> str:
    """One random fault; returns its name."""
    name = run.rng.choice(FAULT_KINDS)
    family = psutil.Process(run.process.pid).children(recursive=True)
    if name == "kill":
        run.kill_one(run.rng.choice(KINDS))
    elif name in ("stop", "freeze"):
        actors = run.actors(run.rng.choice(KINDS))
        if actors:
            actor = run.rng.choice(actors)
            actor.suspend()
            if name == "stop":
                time.sleep(run.rng.choice((8, 30)))  # shorter and longer than the deadline
                actor.resume()
    elif name == "full disk":
        with filled(run.output):
            wait_for_end(run)
    elif name == "vanished directory":
        run.run.rename(run.output / "away")
        wait_for_end(run)
        shutil.rmtree(run.run, ignore_errors=True)
        (run.output / "away").rename(run.run)
    elif name == "driver":
        os.kill(run.process.pid, signal.SIGKILL)
    else:
        for process in family:
            with contextlib.suppress(psutil.Error):
                if process.name() == name:
                    process.kill()
    return name


@pytest.mark.timeout(7200)
def test_forty_faults(tmp_path, small_disk, monkeypatch):
    rng = random.Random(0)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(KILLER)
    paths = (str(site), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    phantoms = launch(tmp_path, *SMALL, "loop.steps=1", "run.name=phantoms", timeout=600)
    assert phantoms.code == 0, phantoms.err
    data = tmp_path / "planted"
    shutil.copytree(next(tmp_path.glob("phantoms-*")), data)
    bad = plant(data, rng)
    planted = (*SMALL, f"data.path={data}")
    plain = launch(tmp_path, *planted, "run.name=plain", timeout=1800)
    assert plain.code == 0, plain.err
    run = Disturbed(small_disk, planted, rng)
    run.launch()
    done: list[str] = []
    while len(done) < FAULTS:
        with contextlib.suppress(psutil.Error):
            if run.wait_for_progress(900) and not run.ended:
                time.sleep(rng.uniform(0.0, 1.5))
                done.append(disturb(run))
        if run.ended:
            assert run.process.returncode in (0, 3, -9), run.text()
            if run.process.returncode == 0:
                break
            run.launch(resume=True)
            run.wait_for_progress(900)  # a process that stands still in a start has 15 minutes
    finished = run.finish(3600)
    while finished.code == 3:  # the last fault ended it: with a cause
        run.launch(resume=True)
        finished = run.finish(3600)
    print(" ".join(done))
    assert finished.code == 0, finished.out
    assert "Traceback" not in finished.out
    require_whole(finished, STEPS, lag=0)
    assert fates(finished) == fates(plain)
    rows = finished.ledger()
    assert {row["case_id"] for row in rows if row["drop_reason"] == REASON} <= bad
    assert not {row["case_id"] for row in rows if row["status"] == "trained"} & bad
    assert not list(Path("/tmp").glob("medray-adapter-*"))
