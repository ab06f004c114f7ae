"""From answers to regions, between generating and editing: the calls of the localisers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from actors.fleet.batching import editor_calls, images_in_order
from actors.fleet.cases import Found, Trial, bisect
from actors.fleet.items import Item
from actors.fleet.pool import Pool
from medray.config import FOUND_REGIONS, Config
from medray.objectives import answers_needed, needs_of
from medray.records import Response

Row = tuple[Item, Response]


def needs_localiser(config: Config) -> bool:
    """Whether v' is read, and made from what a localiser finds for an answer."""
    reads = needs_of(config.objective).corrupt and answers_needed(config)
    return reads and config.corruption.region in FOUND_REGIONS


async def find_regions(localisers: Pool, rows: Sequence[Row]) -> Found[Row, None]:
    """The same items and answers; their cases have the regions found for what the texts claim."""

    async def locate(rows: Sequence[Row], trial: Trial) -> list[Row]:
        cases, answers = [item.case for item, _ in rows], [answer.text for _, answer in rows]
        images = images_in_order([item for item, _ in rows])
        call = await localisers.run(
            lambda localiser, _: localiser.locate.remote(cases, answers, *images), **trial
        )
        return [
            (replace(item, case=replace(item.case, regions=(*item.case.regions, *regions))), answer)
            for (item, answer), regions in zip(rows, call.value, strict=True)
        ]

    parts = editor_calls(rows, max(1, localisers.size), by=lambda row: row[0].case.case_id)
    found = await asyncio.gather(*[bisect(part, locate) for part in parts])
    merged: Found[Row, None] = Found()
    for part in found:
        merged.results += [(located, None) for _, located in part.results]
        merged.broken += part.broken
    return merged
