"""The rows of metrics, each published once the weights of its step have arrived."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from actors.loop.telemetry import Telemetry
from actors.loop.weight_sync import Sync
from medray.errors import MedrayError
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


@dataclass(slots=True)
class PendingRow:
    """A row, and its weights on their way."""

    row: dict[str, Any]
    sync: asyncio.Task[Sync] | None = None

    def cancel(self) -> Sync | None:
        """What is known by now of how the weights arrived."""
        sync = self.sync
        if sync is None:
            return None
        arrived = sync.done() and not sync.cancelled() and not sync.exception()
        sync.cancel()
        return sync.result() if arrived else None


class MetricsWriter:
    """Holds the rows of steps whose weights are on their way: of the newest, and for a moment of
    the one before it."""

    def __init__(self, run: RunDirectory, telemetry: Telemetry, console: RunConsole) -> None:
        self.run, self.telemetry, self.console = run, telemetry, console
        self.pending: list[PendingRow] = []

    def hold(self, row: dict[str, Any]) -> PendingRow:
        """Keep the row of a step that is learnt; its `sync` is set once its weights are sent."""
        self.pending.append(PendingRow(row))
        return self.pending[-1]

    async def flush(self) -> None:
        """Publish what is held, as soon as its weights have arrived, if they were sent."""
        while self.pending and (sync := self.pending[0].sync) is not None:
            result = await asyncio.shield(sync)
            self._publish(self.pending.pop(0).row, result)

    async def flush_within(self, seconds: float) -> None:
        """Publish what is held, after `seconds` whether or not its weights have arrived."""
        with contextlib.suppress(TimeoutError, MedrayError):
            async with asyncio.timeout(seconds):
                await self.flush()
        while self.pending:
            first = self.pending.pop(0)
            self._publish(first.row, first.cancel())

    async def drop(self) -> None:
        """Forget what is held: the run returns to a step before it."""
        syncs = {one.sync for one in self.pending if one.sync is not None}
        self.pending.clear()
        for sync in syncs:
            sync.cancel()
        if syncs:
            await asyncio.wait(syncs)

    def _publish(self, row: dict[str, Any], sync: Sync | None) -> None:
        row |= {
            "t_sync": sync.seconds if sync else None,
            "sync_bytes": sync.bytes if sync else None,
            "logp_gap": sync.logp_gap if sync else None,
        }
        stats = sync.cache_stats if sync else {}
        for cache in ("prefix", "image"):
            if stats.get(f"{cache}_queries"):
                hits = stats[f"{cache}_hits"] / stats[f"{cache}_queries"]
                row[f"{cache}_cache_hits"] = hits
        self.run.append_metrics(row)
        if sync is not None:
            self.telemetry.step(row)
            self.console.step(row["step"], row)
