"""Two nodes, one of which vanishes in the middle of a run."""

import os
import signal
import subprocess
import sys
import time

import pytest

from actors.fleet.calls import NODE_GONE, UNREACHABLE
from tests.support.paths import ROOT
from tests.support.processes.clusters import Cluster
from tests.support.processes.killing import fates, require_whole
from tests.support.processes.running import Finished, environment

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed, pytest.mark.chaos]


@pytest.fixture
def cluster():
    """A head that can hold everything, and a second node."""
    started = Cluster(cpus=2)
    yield started
    started.stop()


def test_a_node_vanishes_and_the_run_goes_on(tmp_path, cluster):
    steps = 30
    node = cluster.add_node(cpus=2)
    command = [
        sys.executable,
        "-m",
        "medray.cli",
        "launch",
        "configs/quickstart.yaml",
        f"run.output={tmp_path}",
        "run.name=run",
        f"--address={cluster.address}",
        f"loop.steps={steps}",
        "loop.batch=12",
        "loop.checkpoint_every=2",
        "loop.max_lag=1",
        "generator.replicas=2",
        "editor.replicas=2",
        "eval.n=8",
        "eval.every=0",
    ]
    log = tmp_path / "log"
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(**cluster.variables),
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 300
    while not metrics.exists() and time.monotonic() < deadline:
        assert run.poll() is None, log.read_text()
        time.sleep(0.2)
    nodes = cluster.actors()
    assert len(nodes) == 2, nodes  # both nodes have actors, so the loss is one
    cluster.kill(node)
    try:
        assert run.wait(timeout=400) == 0, log.read_text()
    finally:
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
    done = Finished(0, log.read_text(), "", tmp_path / "run")
    assert len(done.metrics()) == steps
    require_whole(done, steps, lag=1)
    assert len(fates(done)) == 12 * steps
    known = (NODE_GONE, UNREACHABLE, "its process ended")
    assert any(f"died: {cause}" in done.out for cause in known)
    assert done.metrics()[-1]["restarts"] >= 1
