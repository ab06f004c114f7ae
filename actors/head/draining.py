"""Which nodes are being drained, and what is on nodes, as the cluster's GCS knows it.

Ray has no public call for these, and Ray Train and Ray Data ask as is done here. An autoscaler
drains a node that it takes away, and `ray start --block` its own when it gets SIGTERM. Nothing new
is put on such a node, what is on it works on, and it ends once it is idle or its time is over.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Any

import ray
from ray._private import state

HEAD = "node:__internal_head__"  # a resource of the head alone


def draining_nodes() -> dict[str, float]:
    """Ids of the nodes (hexadecimal), and when each ends: seconds since the epoch, or inf."""
    nodes = state.state.get_draining_nodes()
    return {node: until / 1000 if until else inf for node, until in nodes.items()}


def node_of(actor: Any) -> str:
    """The id of the node that an actor is on; "" before it is on one."""
    found = state.actors(actor._actor_id.hex()) or {}
    node = str(found.get("Address", {}).get("NodeID") or "")
    return "" if node == ray.NodeID.nil().hex() else node


def free_resources(without: Collection[str]) -> dict[str, dict[str, float]]:
    """What nobody uses on each node, `without` some of them."""
    nodes = state.available_resources_per_node()
    return {node: dict(has) for node, has in nodes.items() if node not in without}


def vital_nodes() -> dict[str, str]:
    """The nodes without which the command cannot go on, and why."""
    heads = [node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]]
    vital = dict.fromkeys(heads, "it is the head of the cluster")
    return vital | {ray.get_runtime_context().get_node_id(): "the run's driver is on it"}
