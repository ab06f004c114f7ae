"""Which resources each actor gets, and whether the cluster has enough of them."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ray
import torch
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.accelerator import is_cpu_build
from actors.fleet.calls import START_DEADLINE
from actors.fleet.localisation import needs_localiser
from medray.config import Config
from medray.errors import ResourceError
from medray.policy.architectures import Architecture
from medray.policy.model.loading import read_architecture, resolve_model_path

MAX_THREADS = 16  # of one actor on a node with GPUs
SHARED_GPU = 0.5  # of a GPU that a rank and a generator use in turns
# Ray restarts nothing by itself: a fresh process has the weights that the run began with.
_NO_RESTARTS: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}
_SPREAD = _NO_RESTARTS | {"scheduling_strategy": "SPREAD"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Ray options of each kind of actor, and their totals.

    `bundle`: what is reserved for one rank of the learner (and for a generator, if they share a
    GPU). Generators, editors and localisers are spread over the nodes.
    """

    learner: dict[str, Any]
    generator: dict[str, Any]
    editor: dict[str, Any]
    language_model: dict[str, Any]
    bundle: dict[str, float]
    gpus: float
    cpus: float
    localiser: dict[str, Any] = field(default_factory=dict)
    note: str = ""  # for the user, about what is not used


def plan_placement(
    config: Config,
    has: dict[str, float] | None = None,
    *,
    generators: bool = True,
    learners: bool = True,
    require: bool = True,
) -> Placement:
    """Options for this cluster, or ResourceError if it is too small (unless not to `require`).

    With GPUs, each learner and each language model takes one, each generator `tensor_parallel` and
    each localiser `localiser.gpus` of them. Without GPUs, each learner takes one CPU; the others
    work while the learners wait, and share those CPUs. `has`: resources of one node instead of the
    cluster's. `generators`: False if there is nothing to answer; `learners`: False if nothing is
    trained.
    """
    node = int(has.get("CPU", 1)) if has is not None else _largest_node()
    has = has if has is not None else ray.cluster_resources()
    replicas = config.generator.replicas if generators else 0
    world = config.learner.world_size if learners else 0
    gpus = has.get("GPU", 0)
    cpu_build = is_cpu_build()
    if (gpus or config.faults.nodes_within) and not cpu_build:  # GPUs may be still to come
        placement = _on_gpus(config, replicas, world, has)
    else:
        placement = _on_cpus(config, node, replicas, world)
    if gpus and cpu_build:
        note = f"its {gpus:g} GPUs are not used: make install STACK=gpu installs what uses them"
        placement = replace(placement, note=note)
    if not require:
        return placement
    _require("GPU", placement.gpus, has, config)
    _require("CPU", placement.cpus, has, config)
    for name, amount in custom_resources(config, replicas, world).items():
        _require_custom(name, amount, has)
    return placement


def actor_name(config: Config, kind: str, number: int) -> str:
    """For Ray's dashboard: whose actor it is. No two are alike, as one may outlive its successor.

    Such as quickstart:Generator-0-3f2a91.
    """
    return f"{config.run.name}:{kind}-{number}-{uuid.uuid4().hex[:6]}"


def _on_gpus(config: Config, generators: int, learners: int, has: Mapping[str, float]) -> Placement:
    models = len(config.editor.served)
    shared = config.generator.colocated and learners > 0
    localisers = config.localiser.replicas if needs_localiser(config) else 0
    each = SHARED_GPU if shared else config.generator.tensor_parallel
    cpus = learners + models + generators + config.editor.replicas + localisers
    # Ray would allow each actor with one CPU a single thread: images are prepared with more.
    threads = _threads(min(MAX_THREADS, int(has.get("CPU", 0)) // max(1, cpus)))
    learner, generator, editor, localiser = _nodes(config)
    return Placement(
        learner=_NO_RESTARTS
        | {"num_gpus": SHARED_GPU if shared else 1, "num_cpus": 1}
        | learner
        | threads,
        generator=_SPREAD | {"num_gpus": each, "num_cpus": 1} | generator | threads,
        editor=_SPREAD | {"num_cpus": 1} | editor | threads,
        language_model=_SPREAD | {"num_gpus": 1, "num_cpus": 1} | generator | threads,
        bundle={"GPU": 1, "CPU": 2 if shared else 1} | _of_bundle(config, shared=shared),
        gpus=learners
        + models
        + (0 if shared else generators * each)
        + localisers * config.localiser.gpus,
        cpus=cpus,
        localiser=_SPREAD
        | {"num_gpus": config.localiser.gpus, "num_cpus": 1}
        | localiser
        | threads,
    )


def _on_cpus(config: Config, node: int, generators: int, learners: int) -> Placement:
    """`node`: CPUs of one node."""
    if generators:
        require_causal_images(read_architecture(resolve_model_path(config.model.path)))
    if config.generator.colocated and learners:
        raise ResourceError(
            "generator.colocated = true", "the cluster has no GPU to share", "set it to false"
        )
    if config.generator.tensor_parallel > 1:
        value = config.generator.tensor_parallel
        raise ResourceError(
            f"generator.tensor_parallel = {value}", "the cluster has no GPU", "set it to 1"
        )
    # In an overlapped loop all of them work at the same time; otherwise they take turns.
    together = generators if config.loop.max_lag else 0
    taking_turns = _threads(node // max(1, together and learners + generators))
    learner, generator, editor, localiser = _nodes(config)
    none = _SPREAD | {"num_cpus": 0}
    return Placement(
        learner=_NO_RESTARTS
        | {"num_cpus": 1}
        | learner
        | _threads(node // max(1, learners + together)),
        generator=none | generator | taking_turns,
        editor=none | editor | taking_turns,
        language_model=none | generator | taking_turns,
        bundle={"CPU": 1} | _of_bundle(config, shared=False),
        gpus=0,
        cpus=learners,
        localiser=none | localiser | taking_turns,
    )


def _nodes(config: Config) -> list[dict[str, Any]]:
    """Ray options that bind learners, generators, editors and localisers to nodes of a kind."""
    sections = (config.learner, config.generator, config.editor, config.localiser)
    return [{"resources": dict(s.resources)} if s.resources else {} for s in sections]


def _of_bundle(config: Config, *, shared: bool) -> dict[str, float]:
    """Custom resources of a rank, and of the generator that shares its GPU."""
    found = Counter(config.learner.resources)
    if shared:
        found.update(config.generator.resources)
    return dict(found)


def custom_resources(config: Config, generators: int, learners: int) -> dict[str, float]:
    """All custom resources that a run takes."""
    localisers = config.localiser.replicas if learners and needs_localiser(config) else 0
    counts = (
        (config.learner.resources, learners),
        (config.generator.resources, generators + len(config.editor.served)),
        (config.editor.resources, config.editor.replicas),
        (config.localiser.resources, localisers),
    )
    total: Counter[str] = Counter()
    for resources, count in counts:
        total.update({name: amount * count for name, amount in resources.items() if count})
    return dict(total)


def require_causal_images(architecture: Architecture) -> None:
    """ResourceError for a model that an engine on a CPU would not run as the learner does."""
    if architecture.image_sees_itself:
        raise ResourceError(
            f"a generator of {architecture.name} on CPUs",
            "vLLM lets image tokens see only those before them there: it would be another policy",
            "use GPUs, or train on given pairs, none of them held out (data.kind: pairs)",
        )


def this_machine() -> dict[str, float]:
    """What a cluster started here would have, at most."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}


def _largest_node() -> int:
    """CPUs of the largest node as Ray counts them: the container's, not the machine's."""
    return int(max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]))


def _threads(threads: int) -> dict[str, Any]:
    """Threads on a CPU node that several actors share.

    Waiting threads must sleep: OpenMP spins by default, and an idle actor that spins makes the
    working one many times slower.
    """
    variables = {"OMP_NUM_THREADS": str(max(1, threads)), "OMP_WAIT_POLICY": "PASSIVE"}
    return {"runtime_env": {"env_vars": variables}}


def _require(kind: str, needed: float, has: Mapping[str, float], config: Config) -> None:
    if needed > has.get(kind, 0):
        models = len(config.editor.served)
        raise ResourceError(
            f"learner.world_size = {config.learner.world_size}, "
            f"generator.replicas = {config.generator.replicas}"
            + (f", {models} model(s) of editor.path" if models else ""),
            f"needs {needed:g} {kind}s, the cluster has {has.get(kind, 0):g}",
            _advice(kind, has, config),
        )


def _require_custom(name: str, needed: float, has: Mapping[str, float]) -> None:
    if needed > has.get(name, 0):
        raise ResourceError(
            f"the resource {name}",
            f"the configuration takes {needed:g} of it, the cluster has {has.get(name, 0):g}",
            "offer it on the nodes (`ray start --resources`), or change the `resources` of actors",
        )


def _advice(kind: str, has: Mapping[str, float], config: Config) -> str:
    world = config.learner.world_size
    if kind == "GPU" and not config.generator.colocated and world <= has.get("GPU", 0):
        return (
            "let each generator share a learner's GPU: generator.colocated=true "
            f"generator.replicas={world}"
        )
    return "lower them, or use a larger cluster"


class LearnerPlacementGroup:
    """GPUs and CPUs of all ranks, reserved together: near each other, and all or none.

    `shared`: generators use it too, so it outlives the present ranks.
    """

    def __init__(self, bundle: dict[str, float], size: int, *, shared: bool) -> None:
        self.bundle, self.size, self.shared = bundle, size, shared
        self._group: PlacementGroup | None = None

    async def reserve(self) -> None:
        """Reserve all bundles. Generators that were placed before would scatter them over nodes.

        Raises ResourceError if the cluster does not have them in time.
        """
        deadline = time.monotonic() + START_DEADLINE
        while True:
            group = self._group or placement_group([self.bundle] * self.size, strategy="PACK")
            self._group = group
            there = await asyncio.to_thread(group.wait, 1)  # short: a thread cannot be stopped
            if there and group is self._group:  # else it was given back meanwhile
                return
            if time.monotonic() < deadline:
                continue
            raise ResourceError(
                f"learner.world_size = {self.size}",
                f"the cluster had no room for {self.size} × {self.bundle} within "
                f"{START_DEADLINE:.0f} s",
                "see `ray status`",
            )

    def nodes(self) -> list[str]:
        """Ids of the nodes of its bundles; none before they are reserved."""
        if self._group is None:
            return []
        bundles = placement_group_table(self._group).get("bundles_to_node_id") or {}
        return [str(node) for node in bundles.values() if node]

    def options(self, bundle: int) -> dict[str, Any]:
        """Ray options of an actor in one of the bundles, after `reserve`."""
        assert self._group is not None, "nothing is reserved"
        strategy = PlacementGroupSchedulingStrategy(
            self._group,
            placement_group_bundle_index=bundle,
            placement_group_capture_child_tasks=False,
        )
        return {"scheduling_strategy": strategy}

    def release(self) -> None:
        """Give the resources back, unless generators use them too."""
        if not self.shared:
            self.remove()

    def remove(self) -> None:
        """Give the resources back, and end whatever still uses them."""
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None
