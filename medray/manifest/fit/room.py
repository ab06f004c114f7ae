"""A configuration against the pods of a cluster: room, time to stop, keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

from medray.config import Config
from medray.manifest.conformance import Mistake
from medray.manifest.fit.demand import Demand, demands_of
from medray.manifest.fit.packing import Pod, pack, pods_of
from medray.manifest.pods import Group, amount_of

STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
STOP_WAIT_DEFAULT = 3
GRACE_DEFAULT = 30  # terminationGracePeriodSeconds


def room_mistakes(
    config: Config, groups: Sequence[Group], spec: dict[str, Any], *, generates: bool
) -> Iterator[Mistake]:
    """Whether driver and actors find a place, at the start or once the cluster has grown."""
    with_gpus = any(group.gpus for group in groups)
    if not with_gpus:
        yield from _needs_gpus(config)
    demands = [*_driver(spec), *demands_of(config, gpus=with_gpus, generates=generates)]
    yield from _unknown_resources(config, groups)
    grown = pods_of(groups, grown=True)
    if homeless := _without_place(demands, groups, grown):
        yield from homeless
        return
    start = pods_of(groups, grown=False)
    if pack(demands, start) and not config.faults.nodes_within:
        why = "is refused: the cluster starts smaller than the run, and grows only when asked to"
        yield "faults.nodes_within = 0", why, "such as faults.nodes_within=1800, or more replicas"


def packed(
    config: Config, groups: Sequence[Group], spec: dict[str, Any], *, generates: bool
) -> list[Pod]:
    """The pods of the grown cluster with a run's actors in them."""
    with_gpus = any(group.gpus for group in groups)
    demands = [*_driver(spec), *demands_of(config, gpus=with_gpus, generates=generates)]
    pods = pods_of(groups, grown=True)
    pack(demands, pods)
    return pods


def _driver(spec: dict[str, Any]) -> list[Demand]:
    cpus, gpus = spec.get("entrypointNumCpus", 0), spec.get("entrypointNumGpus", 0)
    return [Demand("driver", 1, float(gpus), float(cpus))] if cpus or gpus else []


def _needs_gpus(config: Config) -> Iterator[Mistake]:
    why, todo = "no pod has a GPU", "give a group limits: {nvidia.com/gpu: …}"
    if config.generator.colocated:
        yield "generator.colocated = true", why, todo
    if config.generator.tensor_parallel > 1:
        yield f"generator.tensor_parallel = {config.generator.tensor_parallel}", why, todo


def _without_place(
    demands: Sequence[Demand], groups: Sequence[Group], pods: Sequence[Pod]
) -> Iterator[Mistake] | None:
    """Why not every actor has a place; totals first, as they explain most."""
    short = list(_short_totals(demands, pods))
    if short:
        return iter(short)
    homeless = pack(demands, pods)
    return iter([_homeless(demand, groups) for demand in homeless]) if homeless else None


def _short_totals(demands: Sequence[Demand], pods: Sequence[Pod]) -> Iterator[Mistake]:
    for resource in ("GPU", "CPU"):
        needed = sum(demand.shape.get(resource, 0.0) * demand.count for demand in demands)
        offered = sum(pod.left[resource] for pod in pods)
        if needed > offered:
            parts = ", ".join(
                f"{demand.count} {demand.kind} × {demand.shape[resource]:g}"
                for demand in demands
                if resource in demand.shape
            )
            what = f"{needed:g} {resource}s are needed ({parts})"
            yield what, f"all pods together have {offered:g}", "raise replicas or limits of a group"


def _homeless(demand: Demand, groups: Sequence[Group]) -> Mistake:
    shape = ", ".join(f"{amount:g} {name}" for name, amount in demand.shape.items())
    offers = "; ".join(
        f"{group.name}: {group.most} × {_offer(group)}" for group in groups if _offer(group)
    )
    what = f"{demand.count} {demand.kind} of {shape} each"
    return what, f"no pod has that left ({offers})", "larger or more pods in a group"


def _offer(group: Group) -> str:
    amounts = {"GPU": group.gpus, "CPU": group.cpus, **group.custom}
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount)


def _unknown_resources(config: Config, groups: Sequence[Group]) -> Iterator[Mistake]:
    offered = {name for group in groups for name in group.custom}
    for section in ("generator", "learner", "editor", "localiser"):
        for name in getattr(config, section).resources:
            if name not in offered:
                todo = f'resources: {{{name}: "1"}} in a group'
                yield f"{section}.resources.{name}", "no group of pods offers it", todo


def stop_mistakes(config: Config, groups: Sequence[Group]) -> Iterator[Mistake]:
    """A run that is asked to stop ends its step and writes a checkpoint; that takes time."""
    needed = config.faults.stop_within
    for group in groups:
        value = group.environment.get(STOP_WAIT, {}).get("value", STOP_WAIT_DEFAULT)
        if not amount_of(value) >= needed:
            what = f"{group.place}: {STOP_WAIT} = {value}"
            todo = f'env: {{name: {STOP_WAIT}, value: "{needed + 60:.0f}"}}'
            yield what, f"is less than faults.stop_within = {needed:g}", todo
        grace = group.pod.get("terminationGracePeriodSeconds", GRACE_DEFAULT)
        if grace < needed:
            what = f"{group.place}: terminationGracePeriodSeconds = {grace}"
            why = f"is less than faults.stop_within = {needed:g}: no checkpoint before a preemption"
            yield what, why, f"{needed + 60:.0f}"


def key_mistakes(config: Config, groups: Sequence[Group]) -> Iterator[Mistake]:
    """The key of an endpoint: a secret, in every pod that may hold an editor."""
    name = config.editor.api_key_env
    if name is None or config.editor.kind == "findings":
        return
    for group in groups:
        entry, sources = group.environment.get(name), group.container.get("envFrom")
        if entry is None and not sources:
            what = f"{group.place}: env {name}"
            yield what, "editor.api_key_env names it, and it is not set", "a secretKeyRef"
        elif entry is not None and entry.get("value"):
            what = f"{group.place}: env {name}"
            yield what, "holds a key in the manifest", "valueFrom: {secretKeyRef: …}"


def version_mistakes(cluster: dict[str, Any], place: str) -> Iterator[Mistake]:
    """The operator starts Ray as its version wants it."""
    given, installed = cluster.get("rayVersion"), metadata.version("ray")
    if given and given != installed:
        what = f"{place}.rayVersion = {given}"
        yield what, f"this medray runs on Ray {installed}", f'"{installed}"'
