"""The groups of pods of a Ray cluster, as the operator and Ray understand them."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

SUFFIXES = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
SUFFIXES |= {f"{letter}i": 2.0 ** (10 * n) for n, letter in enumerate("KMGTPE", 1)}
SUFFIXES |= {"P": 1e15, "E": 1e18}
UNBOUNDED = 2**31 - 1  # maxReplicas, if it is not given


def amount_of(quantity: Any) -> float:
    """A quantity of Kubernetes as a number: "500m" is 0.5, "8Gi" 8 · 2³⁰; NaN if it is none."""
    match = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)", str(quantity).strip())
    if match is None or match[2] not in SUFFIXES:
        return math.nan
    try:
        return float(match[1]) * SUFFIXES[match[2]]
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume in a container; `volume` is {} if the pod has none of that name."""

    path: str
    volume: dict[str, Any]
    read_only: bool

    def has(self, path: str) -> bool:
        return PurePosixPath(path).is_relative_to(self.path)


@dataclass(frozen=True, slots=True)
class Group:
    """The head, or one group of workers: how many pods, and what one of them offers.

    `now`: pods at the start; `most`: those that an autoscaler may bring.
    """

    name: str
    place: str  # in the manifest
    tree: dict[str, Any]
    now: int
    most: int

    @property
    def pod(self) -> dict[str, Any]:
        return dict((self.tree.get("template") or {}).get("spec") or {})

    @property
    def container(self) -> dict[str, Any]:
        """Ray's own: the first one."""
        return dict(self.pod["containers"][0])

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.tree.get("rayStartParams") or {})

    def limit(self, name: str) -> float:
        """Of the container; what is requested if nothing is limited; 0 if neither is given."""
        resources = self.container.get("resources") or {}
        for part in ("limits", "requests"):
            if name in (resources.get(part) or {}):
                return amount_of(resources[part][name])
        return 0.0

    @property
    def cpus(self) -> float:
        """As Ray counts them."""
        given = self._given("CPU", "num-cpus")
        return given if given is not None else float(math.ceil(self.limit("cpu")))

    @property
    def gpus(self) -> float:
        given = self._given("GPU", "num-gpus")
        return given if given is not None else self.devices

    @property
    def devices(self) -> float:
        """GPUs of the container."""
        resources = self.container.get("resources") or {}
        names = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
        return sum(self.limit(name) for name in names if name.endswith("gpu"))

    @property
    def memory(self) -> float:
        """Bytes that the container may use."""
        return self.limit("memory")

    @property
    def custom(self) -> dict[str, float]:
        """Ray's custom resources."""
        offered = {k: amount_of(v) for k, v in (self.tree.get("resources") or {}).items()}
        text = str(self.parameters.get("resources", "")).strip("'\"").replace('\\"', '"')
        if text:
            with contextlib.suppress(ValueError, AttributeError, TypeError):  # a rule says so
                offered |= {str(k): float(v) for k, v in json.loads(text).items()}
        return {k: v for k, v in offered.items() if k not in ("CPU", "GPU", "memory")}

    @property
    def mounts(self) -> list[Mount]:
        volumes = {volume["name"]: volume for volume in self.pod.get("volumes") or ()}
        return [
            Mount(m["mountPath"], volumes.get(m["name"], {}), bool(m.get("readOnly")))
            for m in self.container.get("volumeMounts") or ()
        ]

    def mount_of(self, path: str) -> Mount | None:
        """The innermost mount that holds a path."""
        holding = [mount for mount in self.mounts if mount.has(path)]
        return max(holding, key=lambda mount: len(mount.path), default=None)

    @property
    def environment(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self.container.get("env") or ()}

    def _given(self, resource: str, parameter: str) -> float | None:
        for source, key in (
            (self.tree.get("resources") or {}, resource),
            (self.parameters, parameter),
        ):
            if key in source:
                return amount_of(source[key])
        return None


def groups_of(cluster: dict[str, Any], place: str) -> list[Group]:
    """The head first. `place`: of the cluster's specification in the manifest."""
    head = Group("head", f"{place}.headGroupSpec", cluster["headGroupSpec"], 1, 1)
    return [head, *_workers(cluster, place)]


def _workers(cluster: dict[str, Any], place: str) -> Iterator[Group]:
    grows = bool(cluster.get("enableInTreeAutoscaling"))
    for index, tree in enumerate(cluster.get("workerGroupSpecs") or ()):
        name = str(tree.get("groupName") or index)
        hosts = int(tree.get("numOfHosts", 1))
        least, most = int(tree.get("minReplicas", 0)), int(tree.get("maxReplicas", UNBOUNDED))
        now = min(max(int(tree.get("replicas", 0)), least), most)
        if tree.get("suspend"):
            now = most = 0
        yield Group(
            name,
            f"{place}.workerGroupSpecs[{name}]",
            tree,
            now * hosts,
            (most if grows else now) * hosts,
        )
