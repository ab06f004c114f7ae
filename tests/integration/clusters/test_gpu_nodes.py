"""Two nodes of eight GPUs, as Ray counts them: ranks are on one node, generators on what is left.

The cluster is Ray's own, the fleet and its options are the real ones; only the models are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tests.support.processes.running import environment

pytestmark = pytest.mark.ray

PLACE = """
import asyncio, json, sys
import ray
from ray.cluster_utils import Cluster

def patiently(start):  # a node has 30 s to come up, which a busy machine does not always give
    for _ in range(4):
        try:
            return start()
        except Exception as error:
            print(error, file=sys.stderr)
    return start()

HAS = {"num_cpus": 16, "num_gpus": 8}
first = HAS | {"include_dashboard": False}
cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=first))
patiently(lambda: cluster.add_node(**HAS))
ray.init(address=cluster.address, log_to_driver=False)
from actors.fleet import Fleet, RestartBudget, fleet as module, placement
from medray.config import Config

placement.is_cpu_build = lambda: False  # of the vLLM that is installed here

class Somewhere:
    def __init__(self, *arguments): pass
    def rendezvous(self): return "nowhere", 0
    def join(self, address, port): pass
    def shard_count(self, mode): return 0
    def node(self): return ray.get_runtime_context().get_node_id()
    def gpus(self): return len(ray.get_gpu_ids())

module.Learner = module.Generator = module.Editor = Somewhere

async def scenario():
    config = Config.model_validate({
        "data": {"kind": "phantom"},
        "learner": {"world_size": 8},
        "generator": {"replicas": 4, "tensor_parallel": 2},
    })
    plan = placement.plan_placement(config)
    async with Fleet(config, plan, RestartBudget(config.faults, print)) as fleet:
        await fleet.start()
        await fleet.learners_ready()
        ranks = await fleet.learners.call("node"), await fleet.learners.call("gpus")
        each = fleet.generators.each
        engines = (
            await each(lambda one, _: one.node.remote()),
            await each(lambda one, _: one.gpus.remote()),
        )
        print("placed", json.dumps([ranks, engines]), flush=True)

asyncio.run(scenario())
ray.shutdown()
cluster.shutdown()
"""


def test_ranks_are_together_and_generators_take_what_is_left():
    """Generators first would be spread over both nodes, and the ranks be four and four."""
    done = subprocess.run(
        [sys.executable, "-c", PLACE],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    placed = [line for line in done.stdout.splitlines() if line.startswith("placed ")]
    assert placed, done.stderr[-2000:]
    (rank_nodes, rank_gpus), (nodes, gpus) = json.loads(placed[0].removeprefix("placed "))
    assert (len(rank_nodes), len(nodes)) == (8, 4)
    assert len(set(rank_nodes)) == 1
    assert set(nodes).isdisjoint(rank_nodes)
    assert (rank_gpus, gpus) == ([1] * 8, [2] * 4)
