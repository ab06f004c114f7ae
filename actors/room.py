"""The GPUs and CPUs of all ranks, set aside together: near each other, and all or none."""

from __future__ import annotations

from typing import Any

from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


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
            self._group, placement_group_bundle_index=place,
            placement_group_capture_child_tasks=False,
        )  # fmt: skip
        return {"scheduling_strategy": strategy}

    def leave(self) -> None:
        """Give the room back, unless somebody else still lives in it."""
        if self._group is not None and not self.shared:
            remove_placement_group(self._group)
            self._group = None
