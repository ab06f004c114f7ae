"""The rows of metrics, each published once the weights of its step have arrived."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.loop.telemetry import Telemetry
from actors.loop.weight_sync import Sync
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


class MetricsWriter:
    """Holds at most one row: that of the newest step, while its weights are on their way."""

    def __init__(self, run: RunDirectory, telemetry: Telemetry, console: RunConsole) -> None:
        self.run, self.telemetry, self.console = run, telemetry, console
        self.row: dict[str, Any] = {}
        self.sync: asyncio.Task[Sync] | None = None

    def hold(self, row: dict[str, Any], sync: asyncio.Task[Sync]) -> None:
        """Keep `row` until `sync` is done."""
        self.row, self.sync = row, sync

    async def flush(self) -> None:
        """Publish the held row, if there is one, as soon as its weights have arrived."""
        if self.sync is not None:
            self._publish(await asyncio.shield(self.sync))

    def flush_now(self) -> None:
        """Publish the held row without waiting: the run ends before its weights arrive."""
        if self.sync is None:
            return
        arrived = self.sync.done() and not self.sync.cancelled() and not self.sync.exception()
        result = self.sync.result() if arrived else None
        self.sync.cancel()
        self._publish(result)

    async def drop(self) -> None:
        """Forget the held row: the run returns to a step before it."""
        if self.sync is not None:
            self.sync.cancel()
            await asyncio.wait({self.sync})
            self.sync = None

    def _publish(self, sync: Sync | None) -> None:
        self.sync = None
        self.row |= {
            "t_sync": sync.seconds if sync else None,
            "sync_bytes": sync.bytes if sync else None,
            "logp_gap": sync.logp_gap if sync else None,
        }
        stats = sync.cache_stats if sync else {}
        for cache in ("prefix", "image"):
            if stats.get(f"{cache}_queries"):
                hits = stats[f"{cache}_hits"] / stats[f"{cache}_queries"]
                self.row[f"{cache}_cache_hits"] = hits
        self.run.append_metrics(self.row)
        if sync is not None:
            self.telemetry.step(self.row)
            self.console.step(self.row["step"], self.row)
