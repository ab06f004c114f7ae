"""Rows of metrics whose weights are still on their way when the run ends, or learners leave."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from actors.loop.metrics import MetricsWriter
from actors.loop.weight_sync import Sync
from medray.errors import RunFailed


def published(*syncs, within=0.2):
    """The rows that are written, of one step for each of `syncs` (None: not sent)."""
    rows = []
    nobody = SimpleNamespace(step=lambda *row: None)

    async def main():
        writer = MetricsWriter(SimpleNamespace(append_metrics=rows.append), nobody, nobody)
        for step, sync in enumerate(syncs, 1):
            pending = writer.hold({"step": step})
            if sync is not None:
                pending.sync = asyncio.create_task(sync())
        await writer.flush_within(within)
        await writer.flush_within(within)  # there is nothing left

    asyncio.run(main())
    return [(row["step"], row["logp_gap"]) for row in rows]


async def soon():
    await asyncio.sleep(0.02)
    return Sync(1, 0.1, 0.001)


async def never():
    await asyncio.sleep(60.0)


async def lost():
    raise RunFailed("no Generator is left")


def test_weights_that_arrive_in_a_moment_are_waited_for():
    assert published(soon) == [(1, 0.001)]


def test_a_row_is_written_whether_or_not_its_weights_arrive():
    assert published(soon, never) == [(1, 0.001), (2, None)]
    assert published(soon, None) == [(1, 0.001), (2, None)]
    assert published(lost, None) == [(1, None), (2, None)]
