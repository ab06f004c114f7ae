"""What a run has on nodes that leave, and what of it must find another place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from actors.fleet import Fleet
from actors.fleet.growth import Bundles, bundle_of


@dataclass(frozen=True, slots=True)
class Affected:
    """`ranks`: of the learners; `replicas`: indices by kind of pool; `models`: directories of
    served language models. `needs`: resources without which the run cannot go on; `staying`: of the
    ranks on other nodes, which become free when all are replaced: (node, resources)."""

    ranks: tuple[int, ...] = ()
    replicas: dict[str, tuple[int, ...]] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    needs: Bundles = field(default_factory=list)
    staying: tuple[tuple[str, dict[str, float]], ...] = ()

    @property
    def actors(self) -> list[str]:
        """As users know them.

        >>> Affected(ranks=(1,), replicas={"Generator": (0, 2)}).actors
        ['Learner(rank=1)', 'Generator(replica=0)', 'Generator(replica=2)']
        """
        ranks = [f"Learner(rank={rank})" for rank in self.ranks]
        replicas = [f"{name}(replica={i})" for name, found in self.replicas.items() for i in found]
        return [*ranks, *replicas, *("LanguageModel" for _ in self.models)]


def find_affected(fleet: Fleet, nodes: Collection[str], node_of: Callable[[Any], str]) -> Affected:
    """What of `fleet` is on `nodes`. `node_of` says where an actor is, or "".

    All ranks are replaced together; those that are to come will be where their bundles are. Of
    replicas one has to stay, or find another place; the others
    join when there is room for them.
    """
    of_ranks = [node_of(handle) for handle in fleet.learners.handles]
    if not any(of_ranks):
        of_ranks = fleet.placement_group.nodes()
    ranks = tuple(rank for rank, node in enumerate(of_ranks) if node in nodes)
    needs: Bundles = [fleet.placement.bundle] * len(of_ranks) if ranks else []
    replicas: dict[str, tuple[int, ...]] = {}
    for pool in fleet.pools:
        where = {index: node_of(handle) for index, handle in pool.handles.items()}
        leaving = tuple(index for index, node in where.items() if node in nodes)
        if leaving:
            replicas[pool.name] = leaving
            if not any(node and node not in nodes for node in where.values()):
                needs.append(bundle_of(getattr(fleet.placement, pool.kind)))
    models = tuple(d for d, engine in fleet.models.engines.items() if node_of(engine) in nodes)
    needs += [bundle_of(fleet.placement.language_model)] * len(models)
    staying = [(node, fleet.placement.bundle) for node in of_ranks if node and node not in nodes]
    return Affected(ranks, replicas, models, needs, tuple(staying) if ranks else ())
