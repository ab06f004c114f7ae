"""Whether a run's actors fit into the pods of a cluster: each into one, largest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from medray.manifest.fit.demand import Demand
from medray.manifest.pods import Group

MOST = 512  # pods of one group that are looked at
TINY = 1e-9  # Ray counts in ten-thousandths; sums of shares are not exact


@dataclass(slots=True)
class Pod:
    """What is left of one pod, and which kinds of actors are in it."""

    group: Group
    left: dict[str, float]
    actors: Counter[str] = field(default_factory=Counter)

    def fits(self, shape: dict[str, float]) -> bool:
        return all(self.left.get(name, 0.0) >= amount - TINY for name, amount in shape.items())

    def take(self, kind: str, shape: dict[str, float]) -> None:
        for name, amount in shape.items():
            self.left[name] -= amount
        self.actors[kind] += 1


def pods_of(groups: Sequence[Group], *, grown: bool) -> list[Pod]:
    """The pods at the start, or all that an autoscaler may bring (`grown`)."""
    return [
        Pod(group, {"CPU": group.cpus, "GPU": group.gpus, **group.custom})
        for group in groups
        for _ in range(min(MOST, group.most if grown else group.now))
    ]


def pack(demands: Sequence[Demand], pods: Sequence[Pod]) -> list[Demand]:
    """Put the actors into pods; returns those without a place, a number of each kind.

    Those bound to nodes first, then the largest; each into the pod with the least left, so that
    large ones find room. What takes nothing is anywhere.
    """
    homeless = []
    demands = [demand for demand in demands if demand.shape]
    for demand in sorted(demands, key=lambda d: (-len(d.custom), -d.gpus, -d.cpus)):
        missing = 0
        for _ in range(demand.count):
            fitting = [pod for pod in pods if pod.fits(demand.shape)]
            if fitting:
                best = min(fitting, key=lambda pod: (pod.left["GPU"], pod.left["CPU"]))
                best.take(demand.kind, demand.shape)
            else:
                missing += 1
        if missing:
            homeless.append(Demand(demand.kind, missing, demand.gpus, demand.cpus, demand.custom))
    return homeless
