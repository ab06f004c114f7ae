"""Nodes that are taken away after a notice, as spot nodes are: a run goes on, or can be resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes.clusters import Cluster
from tests.support.processes.killing import fates, require_whole
from tests.support.processes.running import Finished, environment

# Several nodes on one machine, and actors that start three times: minutes.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.vllm,
    pytest.mark.deepspeed,
    pytest.mark.chaos,
    pytest.mark.timeout(3000),
]

STEPS, BATCH = 2000, 12  # more than there is time for
NOTICE = 60  # seconds
LEARNER, GENERATOR = "Learner(rank=0)", "Generator(replica=0)"


@pytest.fixture
def cluster():
    """A head for the driver, to which nodes are added."""
    started = Cluster(cpus=2)
    yield started
    started.stop()


@dataclass
class Launched:
    """A run on the cluster, from a terminal on its head."""

    folder: Path
    process: subprocess.Popen

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def text(self) -> str:
        return (self.folder / "log").read_text()

    def rows(self) -> int:
        path = self.run / "metrics.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def until(self, what, seconds: float = 900.0) -> None:
        """Until `what()` is true."""
        deadline = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.3)

    def progress(self) -> None:
        """Until two more steps are published."""
        before = self.rows()
        self.until(lambda: self.rows() >= before + 2)

    def finish(self, seconds: float) -> Finished:
        code = self.process.wait(timeout=seconds)
        return Finished(code, self.text(), "", self.run)


@pytest.fixture
def launch(tmp_path, cluster):
    """Starts the run; what is left of it is ended with the test."""
    started: list[subprocess.Popen] = []

    def start(*overrides: str) -> Launched:
        command = [sys.executable, "-m", "medray.cli", "launch", "configs/quickstart.yaml"]
        command += [f"run.output={tmp_path}", "run.name=run", f"--address={cluster.address}"]
        command += [
            f"loop.steps={STEPS}",
            f"loop.batch={BATCH}",
            "eval.n=8",
            "eval.every=0",
            *overrides,
        ]
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(**cluster.variables),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return Launched(tmp_path, process)

    yield start
    for process in started:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


def added(cluster, **resources) -> tuple[str, subprocess.Popen]:
    before = cluster.ids()
    process = cluster.add_node(cpus=1, **resources)
    (node,) = cluster.ids() - before
    return node, process


def require_saved_in_time(text: str, node: str) -> None:
    """The log names the node, and a checkpoint of the last step before its end."""
    line = next(line for line in text.splitlines() if f"node {node[:12]} is drained, until" in line)
    assert LEARNER in line
    assert "again elsewhere after a checkpoint" in line
    after = text[text.index(line) :]
    saved = re.search(r"checkpoint of step (\d+) written, (\d+) s before the node ends", after)
    assert saved, text
    assert 0 < int(saved[2]) < NOTICE
    assert f"continuing from step-{int(saved[1]):06d}" in after


def test_learners_leave_before_their_node_and_the_run_goes_on(cluster, launch):
    """Its node is drained: the learner moves to another one with everything that it has learnt.
    That one is drained, too, and there is none: it waits until one comes."""
    nodes = dict(added(cluster, learner=1) for _ in range(2))
    run = launch(
        "loop.max_lag=1",
        "loop.checkpoint_every=0",
        "learner.resources.learner=0.01",
        "faults.nodes_within=300",
        "faults.learner=0",
        "faults.generator=0",
        "faults.editor=0",
    )
    run.until(lambda: run.rows() >= 2)
    found = cluster.actors()
    (first,) = [node for node in nodes if LEARNER in found.get(node, ())]
    (second,) = set(nodes) - {first}
    cluster.drain(first, NOTICE)
    run.until(lambda: "continuing from" in run.text())
    cluster.kill(nodes[first])
    cluster.drain(second, NOTICE)
    run.until(lambda: f"node {second[:12]} is drained" in run.text())
    assert "once there is a node" in run.text()
    run.until(lambda: run.text().count("s before the node ends") == 2)
    cluster.kill(nodes[second])
    added(cluster, learner=1)
    run.until(lambda: run.text().count("continuing from") == 2)
    run.progress()
    run.process.send_signal(signal.SIGTERM)
    done = run.finish(90)
    assert done.code == 75, done.out
    require_saved_in_time(done.out, first)
    require_saved_in_time(done.out, second)
    last = done.metrics()[-1]["step"]
    require_whole(done, last, lag=1, unsent=3)  # two moves, and the end
    assert len(fates(done)) == BATCH * last
    assert done.metrics()[-1]["restarts"] == 0  # nobody is to blame
    log = (run.run / "logs" / "progress.log").read_text()
    assert first[:12] in log
    assert second[:12] in log


def test_generators_move_and_a_head_that_leaves_stops_the_run(cluster, launch):
    """The node of the only generator gets SIGTERM, as a pod that is deleted: Ray drains it. Then
    the head is drained, with the driver."""
    nodes = dict(added(cluster, worker=1) for _ in range(2))
    run = launch(
        "loop.checkpoint_every=0",
        "generator.resources.worker=0.01",
        "editor.resources.worker=0.01",
        "faults.generator=0",
        "faults.editor=0",
    )
    run.until(lambda: run.rows() >= 2)
    found = cluster.actors()
    (node,) = [node for node in nodes if GENERATOR in found.get(node, ())]
    (other,) = set(nodes) - {node}
    nodes[node].send_signal(signal.SIGTERM)
    run.until(lambda: f"node {node[:12]} is drained, until" in run.text())
    nodes[node].wait(timeout=60)
    run.progress()
    assert GENERATOR in cluster.actors()[other]
    (head,) = cluster.ids() - {other}
    before = time.monotonic()
    cluster.drain(head, NOTICE)
    done = run.finish(NOTICE)
    assert done.code == 75, done.out
    assert time.monotonic() - before < NOTICE
    assert f"node {head[:12]} is drained, until" in done.out
    assert "the run stops after a checkpoint, as the run's driver is on it" in done.out
    last = done.metrics()[-1]["step"]
    assert last > 2
    assert (run.run / "checkpoints" / "latest").read_text().strip() == f"step-{last:06d}"
    require_whole(done, last, lag=0, unsent=1)
    assert done.metrics()[-1]["restarts"] == 0


def loading(cluster) -> set[str]:
    """Actors that load; where, Ray's listing says only later."""
    return {name for names in cluster.actors("PENDING_CREATION").values() for name in names}


def test_what_loads_on_a_node_that_leaves_loads_elsewhere(cluster, launch):
    """Before the first step nothing is lost: learner and generator begin anew on the other node,
    where the learner's place was on the first, and nobody is charged."""
    first, node = added(cluster, worker=1)
    run = launch(
        "learner.resources.worker=0.01",
        "generator.resources.worker=0.01",
        "editor.resources.worker=0.01",
        *("faults.learner=0", "faults.generator=0", "faults.editor=0"),
    )
    run.until(lambda: "Generator" in loading(cluster))
    second, _ = added(cluster, worker=1)
    cluster.drain(first, NOTICE)
    run.until(lambda: f"node {first[:12]} is drained, until" in run.text())
    cluster.kill(node)
    run.until(lambda: run.rows() >= 2)
    assert {LEARNER, GENERATOR} <= cluster.actors()[second]
    assert "after a checkpoint" not in run.text()
    run.process.send_signal(signal.SIGTERM)
    stopped = run.finish(90)
    assert stopped.code == 75, stopped.out
    last = stopped.metrics()[-1]["step"]
    require_whole(stopped, last, lag=0, unsent=1)
    assert stopped.metrics()[-1]["restarts"] == 0
