"""A cluster that is too small, now or once nodes leave: an autoscaler may bring others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.autoscaler.sdk import request_resources

from actors.fleet.localisation import needs_localiser
from actors.fleet.placement import Placement, plan_placement
from medray.config import Config
from medray.errors import ResourceError

LOOK = 5.0  # seconds between two looks at the cluster

TOLERANCE = 1e-6  # of a resource: shares add up inexactly

Bundles = list[dict[str, float]]


def request_nodes(bundles: Bundles) -> None:
    """Ask the cluster's autoscaler, if it has one, for room for all of these."""
    request_resources(bundles=bundles)


def placement_in_time(
    config: Config,
    announce: Callable[[str], None],
    *,
    generators: bool,
    request: Callable[[Bundles], object] = request_nodes,
    wait: Callable[[float], object] = time.sleep,
) -> Placement:
    """The placement on this cluster, once it is large enough; see `plan_placement`.

    An autoscaler gets the run's `request` for nodes; actors hold them afterwards, so it is taken
    back. `announce` prints what is waited for. Raises ResourceError after `faults.nodes_within`.
    """
    deadline, asking = time.monotonic() + config.faults.nodes_within, False
    try:
        while True:
            try:
                return plan_placement(config, generators=generators)
            except ResourceError as short:
                if time.monotonic() >= deadline:
                    raise _too_late(short, config) from None
                if not asking:
                    asking = True
                    request(bundles_of(config, generators=generators))
                    limit = config.faults.nodes_within
                    announce(f"waiting up to {limit:.0f} s for nodes: {short.why}")
                wait(LOOK)
    finally:
        if asking:
            request([])


def has_room(needs: Bundles, free: Iterable[Mapping[str, float]]) -> bool:
    """Whether nodes with these `free` resources have a place for each of `needs`.

    >>> has_room([{"GPU": 1}, {"GPU": 1}], [{"GPU": 1, "CPU": 8}, {"CPU": 8}])
    False
    """
    left = [dict(node) for node in free]
    for bundle in sorted(needs, key=lambda bundle: sum(bundle.values()), reverse=True):
        for node in left:
            if all(node.get(k, 0) >= amount - TOLERANCE for k, amount in bundle.items()):
                for k, amount in bundle.items():
                    node[k] = node.get(k, 0) - amount
                break
        else:
            return False
    return True


async def room_in_time(
    config: Config,
    needs: Bundles,
    free: Callable[[], Iterable[Mapping[str, float]]],
    *,
    generators: bool,
    request: Callable[[Bundles], object] = request_nodes,
) -> bool:
    """Whether the cluster has room for `needs` within `faults.nodes_within`, in which an autoscaler
    is asked for all that the run takes. `free`: of each node, as it is now."""
    deadline, asking = time.monotonic() + config.faults.nodes_within, False
    try:
        while not has_room(needs, await asyncio.to_thread(free)):
            if time.monotonic() >= deadline:
                return False
            if not asking:
                asking = True
                request(bundles_of(config, generators=generators))
            await asyncio.sleep(min(LOOK, max(0.0, deadline - time.monotonic())))
        return True
    finally:
        if asking:
            request([])


def bundles_of(config: Config, *, generators: bool) -> Bundles:
    """What each actor of the run takes of a node."""
    placement = plan_placement(config, generators=generators, require=False)
    engines = config.generator.replicas if generators else 0
    if config.generator.colocated:
        engines = 0  # in the ranks' bundles
    localisers = config.localiser.replicas if needs_localiser(config) else 0
    counts = (
        (placement.generator, engines),
        (placement.language_model, len(config.editor.served)),
        (placement.editor, config.editor.replicas),
        (placement.localiser, localisers),
    )
    bundles = [placement.bundle] * config.learner.world_size
    bundles += [bundle_of(options) for options, count in counts for _ in range(count)]
    return [bundle for bundle in bundles if bundle]


def bundle_of(options: dict[str, Any]) -> dict[str, float]:
    """What an actor with these Ray options takes of a node."""
    amounts = {"CPU": options.get("num_cpus", 0), "GPU": options.get("num_gpus", 0)}
    return {k: v for k, v in (amounts | options.get("resources", {})).items() if v}


def _too_late(short: ResourceError, config: Config) -> ResourceError:
    if not config.faults.nodes_within:
        return short
    why = f"{short.why} after faults.nodes_within = {config.faults.nodes_within:g} s"
    return ResourceError(short.what, why, "see `ray status` for what the autoscaler could not get")
