"""What the cluster has, what a run needs, and whether the one covers the other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from medray.config import Config
from medray.errors import ResourceError

SHARED_GPU = 0.5  # of a GPU that a rank and a generator take turns on


@dataclass(frozen=True, slots=True)
class Placement:
    """Ray options of each kind of actor, and the totals they add up to.

    `bundle`: what is set aside for one rank of the learner (and for the generator beside it,
    where they share a GPU). Generators and editors are spread over the nodes.
    """

    learner: dict[str, Any]
    generator: dict[str, Any]
    editor: dict[str, Any]
    bundle: dict[str, float]
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
    spread = common | {"scheduling_strategy": "SPREAD"}
    if has.get("GPU", 0) > 0:
        shared = config.generator.colocated
        each = SHARED_GPU if shared else config.generator.tensor_parallel
        gpus, cpus = learners + (0 if shared else replicas * each), learners + replicas
        cpus += config.editor.replicas
        _require("GPU", gpus, has, config)
        placement = Placement(
            common | {"num_gpus": SHARED_GPU if shared else 1, "num_cpus": 1},
            spread | {"num_gpus": each, "num_cpus": 1},
            spread | {"num_cpus": 1},
            {"GPU": 1, "CPU": 2 if shared else 1},
            gpus,
            cpus,
        )
    elif config.generator.colocated:
        raise ResourceError(
            "generator.colocated = true", "the cluster has no GPU to share", "set it to false"
        )
    else:
        if config.generator.tensor_parallel > 1:
            raise ResourceError(
                f"generator.tensor_parallel = {config.generator.tensor_parallel}",
                "the cluster has no GPU",
                "set it to 1",
            )
        gpus, cpus = 0, learners
        # In an overlapped loop they work at the same time; else they take turns.
        together = replicas if config.loop.max_lag else 0
        sharing = (
            spread | {"num_cpus": 0} | _threads(node // max(1, together and learners + replicas))
        )
        learning = common | {"num_cpus": 1} | _threads(node // (learners + together))
        placement = Placement(learning, sharing, sharing, {"CPU": 1}, gpus, cpus)
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


class Room:
    """One placement group of `places` bundles.

    `shared`: generators live in it too, so it outlasts the ranks of the moment.
    """

    def __init__(self, bundle: dict[str, float], places: int, *, shared: bool) -> None:
        self.bundle, self.places, self.shared = bundle, places, shared
        self._group: PlacementGroup | None = None

    def at(self, place: int) -> dict[str, Any]:
        """Ray options of an actor in one of the places; the first to ask sets all aside."""
        if self._group is None:
            self._group = placement_group([self.bundle] * self.places, strategy="PACK")
        strategy = PlacementGroupSchedulingStrategy(
            self._group,
            placement_group_bundle_index=place,
            placement_group_capture_child_tasks=False,
        )
        return {"scheduling_strategy": strategy}

    def leave(self) -> None:
        """Give the room back, unless somebody else still lives in it."""
        if self._group is not None and not self.shared:
            remove_placement_group(self._group)
            self._group = None
