"""From answers to regions, between generating and editing: the calls of the localisers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from actors.fleet.batching import editor_calls
from actors.fleet.items import Item
from actors.fleet.pool import Pool
from medray.config import FOUND_REGIONS, Config
from medray.objectives import answers_needed, needs_of
from medray.records import Response


def needs_localiser(config: Config) -> bool:
    """Whether v' is read, and made from what a localiser finds for an answer."""
    reads = needs_of(config.objective).corrupt and answers_needed(config)
    return reads and config.corruption.region in FOUND_REGIONS


async def find_regions(
    localisers: Pool, items: Sequence[Item], responses: Sequence[Response]
) -> list[Item]:
    """The same items; their cases have the regions found for what the texts claim."""

    async def locate(rows: Sequence[tuple[Item, Response]]) -> list[Item]:
        cases, answers = [item.case for item, _ in rows], [answer.text for _, answer in rows]
        images = [item.image for item, _ in rows]
        call = await localisers.run(
            lambda localiser, _: localiser.locate.remote(cases, answers, *images)
        )
        return [
            replace(item, case=replace(item.case, regions=(*item.case.regions, *regions)))
            for (item, _), regions in zip(rows, call.value, strict=True)
        ]

    rows = list(zip(items, responses, strict=True))
    parts = [locate(part) for part in editor_calls(rows, max(1, localisers.size))]
    return [item for part in await asyncio.gather(*parts) for item in part]
