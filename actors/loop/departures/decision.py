"""What a run does about nodes that leave."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from actors.loop.departures.affected import Affected

SHOWN = 12  # characters of a node's id: enough to find it with `ray list nodes`

# stop: a checkpoint, and exit code 75. move: what is there starts again on other nodes. wait: the
# same, once a node has come.
Decision = Literal["nothing", "stop", "move", "wait"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Nodes that leave at the same notice, and when each ends (seconds since the epoch, or inf)."""

    nodes: Mapping[str, float]

    @property
    def deadline(self) -> float:
        """The first of them."""
        return min(self.nodes.values(), default=inf)

    def seconds_left(self, now: float | None = None) -> float | None:
        """Until the first node ends; None if there is no deadline."""
        if not isfinite(self.deadline):
            return None
        return max(0.0, self.deadline - (time.time() if now is None else now))

    def __str__(self) -> str:
        """
        >>> str(Notice({"07136b114437a502a1d1": inf}))
        'node 07136b114437 is drained, without a deadline'
        """
        names = ", ".join(node[:SHOWN] for node in self.nodes)
        many = len(self.nodes) > 1
        subject = f"nodes {names} are" if many else f"node {names} is"
        left = self.seconds_left()
        if left is None:
            return f"{subject} drained, without a deadline"
        until = time.strftime("%H:%M:%S", time.localtime(self.deadline))
        return f"{subject} drained, until {until} ({left:.0f} s)"


def decide(
    found: Affected, *, vital: bool, colocated: bool, fits: bool, may_grow: bool
) -> Decision:
    """`vital`: the driver or the head leaves. `colocated`: learners and generators share GPUs, so
    that they can only leave together. `fits`: other nodes have room now; `may_grow`: nodes may
    still come (`faults.nodes_within`).
    """
    if vital:
        return "stop"
    if not found.actors:
        return "nothing"
    if found.ranks and colocated:
        return "stop"
    if fits:
        return "move"
    return "wait" if may_grow else "stop"


def describe(notice: Notice, found: Affected, decision: Decision, why: str, *, saved: bool) -> str:
    """One line for the log: the nodes, their deadline, what is done. `why`: the run has to stop;
    `saved`: the learners may hold something, which is written first."""
    actors = ", ".join(found.actors)
    if decision == "stop":
        return f"{notice}: the run stops{' after a checkpoint' if saved else ''}, as {why}"
    starts = "starts" if len(found.actors) == 1 else "start"
    after = " after a checkpoint" if found.ranks and saved else ""
    once = " once there is a node" if decision == "wait" else ""
    return f"{notice}: {actors} {starts} again elsewhere{after}{once}"
