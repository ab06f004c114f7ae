"""What the cluster has, what a run needs, and whether the one covers the other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import ray
import torch

from medray.config import Config
from medray.errors import ResourceError


@dataclass(frozen=True, slots=True)
class Placement:
    """Ray options of each kind of actor, and the totals they add up to."""

    learner: dict[str, Any]
    generator: dict[str, Any]
    editor: dict[str, Any]
    gpus: float
    cpus: float


def place(config: Config, has: dict[str, float] | None = None) -> Placement:
    """Options for this cluster; ResourceError where it is too small. `has` is for tests.

    With GPUs, each learner takes one and each generator `tensor_parallel` of them. Without,
    each learner takes one CPU; generators and editors work while the learners wait, and share
    those CPUs.
    """
    node = int(has.get("CPU", 1)) if has is not None else _largest_node()
    has = has if has is not None else ray.cluster_resources()
    learners, replicas = config.learner.world_size, config.generator.replicas
    common: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}
    if has.get("GPU", 0) > 0:
        tensor_parallel = config.generator.tensor_parallel
        gpus, cpus = learners + replicas * tensor_parallel, learners + replicas
        cpus += config.editor.replicas
        _require("GPU", gpus, has, config)
        placement = Placement(
            common | {"num_gpus": 1, "num_cpus": 1},
            common | {"num_gpus": tensor_parallel, "num_cpus": 1},
            common | {"num_cpus": 1}, gpus, cpus,
        )  # fmt: skip
    else:
        if config.generator.tensor_parallel > 1:
            raise ResourceError(
                f"generator.tensor_parallel = {config.generator.tensor_parallel}",
                "the cluster has no GPU", "set it to 1",
            )  # fmt: skip
        gpus, cpus = 0, learners
        sharing = common | {"num_cpus": 0} | _threads(node)
        learning = common | {"num_cpus": 1} | _threads(node // learners)
        placement = Placement(learning, sharing, sharing, gpus, cpus)
    _require("CPU", placement.cpus, has, config)
    return placement


def this_machine() -> dict[str, float]:
    """What a cluster started here would have, at most."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}


def _largest_node() -> int:
    """CPUs that Ray counts on the largest node: a container's own, not the machine's."""
    return int(max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]))


def _threads(threads: int) -> dict[str, Any]:
    """Threads on a CPU node that is shared by actors taking turns.

    Waiting threads must sleep: OpenMP's default of spinning makes an actor that has nothing to
    do slow the working one down many times over.
    """
    variables = {"OMP_NUM_THREADS": str(max(1, threads)), "OMP_WAIT_POLICY": "PASSIVE"}
    return {"runtime_env": {"env_vars": variables}}


def _require(kind: str, needed: float, has: dict[str, float], config: Config) -> None:
    if needed > has.get(kind, 0):
        raise ResourceError(
            f"learner.world_size = {config.learner.world_size}, "
            f"generator.replicas = {config.generator.replicas}",
            f"needs {needed:g} {kind}s, the cluster has {has.get(kind, 0):g}",
            "lower them, or use a larger cluster",
        )
