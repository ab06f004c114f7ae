"""From cases to views of their images in the object store: the editors' first calls of a step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.fleet.batching import editor_calls
from actors.fleet.calls import ActorLost
from actors.fleet.cases import REASON, BrokenCases, Trial, bisect
from actors.fleet.items import Item, Unusable
from actors.fleet.pool import CallResult, Pool
from medray.data.stream import images_of
from medray.records import Case, Region

Blame = Callable[[Case, ActorLost], str]  # remembers a case that took an actor along


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Why a case cannot be used, or "" and its regions and images at the scale of their views."""

    reason: str
    regions: tuple[Region, ...] = ()
    images: tuple[Any, ...] = ()


async def load_views(
    editors: Pool, items: Sequence[Item], broken: BrokenCases, blame: Blame
) -> tuple[list[Item], list[Unusable]]:
    """Each image once, however many cases are about it → (items with the views of their images
    and with regions at their scale, unusable items). What was loaded before has such regions."""
    every = {item.case.case_id: _unscaled(item) for item in items}
    cases = _by_image([case for case in every.values() if case not in broken])
    parts = editor_calls(cases, max(1, editors.size), by=lambda case: case.image)
    loaded = {case_id: _Loaded(REASON) for case_id in every}
    for part in await asyncio.gather(*[_load(editors, part, blame) for part in parts]):
        loaded |= part
    usable, unusable = [], []
    for item in items:
        found, case = loaded[item.case.case_id], item.case
        if found.reason:
            unusable.append(Unusable(item.item_id, case.case_id, found.reason))
            continue
        if not item.images:
            case = replace(case, regions=found.regions)
        usable.append(replace(item, case=case, images=found.images))
    return usable, unusable


async def _load(editors: Pool, cases: Sequence[Case], blame: Blame) -> dict[str, _Loaded]:
    """What one call gave, by case id."""

    async def load(cases: Sequence[Case], trial: Trial) -> CallResult:
        returns = 1 + len(images_of(cases))
        return await editors.run(
            lambda editor, _: editor.load.options(num_returns=returns).remote(cases), **trial
        )

    found = await bisect(cases, load)
    loaded = {case.case_id: _Loaded(blame(case, lost)) for case, lost in found.broken}
    for part, call in found.results:
        images = dict(zip(images_of(part), call.refs[1:], strict=True))
        for case, (reason, regions) in zip(part, call.value, strict=True):
            own = tuple(images[image.path] for image in case.images)
            loaded[case.case_id] = _Loaded(reason, regions, own)
    return loaded


def _unscaled(item: Item) -> Case:
    """The item's case to be loaded: its regions are left out if they have the view's scale."""
    return replace(item.case, regions=()) if item.images else item.case


def _by_image(cases: Sequence[Case]) -> list[Case]:
    """Cases of the same first image side by side, in the order of the first such case."""
    first = {image: n for n, image in enumerate(images_of(cases))}
    return sorted(cases, key=lambda case: first[case.image])
