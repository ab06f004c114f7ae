"""The rows of metrics, each published once the weights of its step have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from actors.fleet.fleet import Fleet
from actors.loop.prefetch import Prepared
from actors.loop.telemetry import Telemetry
from medray.editing.relevance import normalise
from medray.ledger import Ledger, StepCounts
from medray.records import Dropped, StepReport
from medray.report.console import RunConsole
from medray.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Sync:
    """One weight update: what moved, how long it took, how well both sides agree (nats)."""

    bytes: int
    seconds: float
    logp_gap: float
    caches: Mapping[str, int] = field(default_factory=dict)  # queries and hits of generators


class Journal:
    """At most one row is open: that of the newest step, while its weights are on their way."""

    def __init__(self, run: RunDirectory, telemetry: Telemetry, console: RunConsole) -> None:
        self.run, self.telemetry, self.console = run, telemetry, console
        self.row: dict[str, Any] = {}
        self.sending: asyncio.Task[Sync] | None = None

    def open(self, row: dict[str, Any], sending: asyncio.Task[Sync]) -> None:
        """Keep `row` until `sending` is done."""
        self.row, self.sending = row, sending

    async def close(self) -> None:
        """Publish the open row, if there is one, when its weights have arrived."""
        if self.sending is None:
            return
        sync = await asyncio.shield(self.sending)
        self._publish(sync)

    def close_early(self) -> None:
        """Publish the open row without waiting: the run ends before its weights arrive."""
        if self.sending is None:
            return
        arrived = self.sending.done() and not self.sending.cancelled()
        sync = None if not arrived or self.sending.exception() else self.sending.result()
        self.sending.cancel()
        self._publish(sync)

    async def discard(self) -> None:
        """Forget the open row: the run returns to a step before it."""
        if self.sending is not None:
            self.sending.cancel()
            await asyncio.wait({self.sending})
            self.sending = None

    def _publish(self, sync: Sync | None) -> None:
        self.sending = None
        self.row |= {
            "t_sync": sync.seconds if sync else None,
            "sync_bytes": sync.bytes if sync else None,
            "logp_gap": sync.logp_gap if sync else None,
        }
        caches = sync.caches if sync else {}
        for cache in ("prefix", "image"):
            if caches.get(f"{cache}_queries"):
                hits = caches[f"{cache}_hits"] / caches[f"{cache}_queries"]
                self.row[f"{cache}_cache_hits"] = hits
        self.run.append_metrics(self.row)
        if sync is not None:
            self.telemetry.step(self.row)
            self.console.step(self.row["step"], self.row)


def account(ledger: Ledger, prepared: Prepared, report: StepReport) -> StepCounts:
    """What became of every item of the step, into the ledger; closes the step."""
    cases = dict(prepared.items)
    for item_id, reason in prepared.rollout.unusable:
        version = report.policy_version
        ledger.drop(Dropped(item_id, cases[item_id].case_id, version, reason))
    for response in prepared.rollout.responses:
        ledger.response(response)
    for outcome in prepared.rollout.outcomes:
        if isinstance(outcome, Dropped):
            ledger.drop(outcome)
    pairs = sorted(prepared.rollout.pairs, key=lambda pair: pair.pair_id)
    weights = normalise([pair.relevance for pair in pairs])  # as the learner does
    scores = {score.pair_id: score for score in report.scores}
    settle = ledger.skipped if report.skipped else ledger.trained
    for pair, weight in zip(pairs, weights, strict=True):
        settle(replace(pair, relevance=weight), scores[pair.pair_id])
    return ledger.close_step(prepared.step)


def measure(
    prepared: Prepared, report: StepReport, counts: StepCounts, fleet: Fleet
) -> dict[str, Any]:
    """The step's row of metrics, without what its weight update will add."""
    rollout, version = prepared.rollout, report.policy_version
    return dict(report.metrics) | {
        "step": prepared.step,
        "policy_version": version,
        "pairs_issued": len(prepared.items),
        "pairs_trained": counts.trained,
        "pairs_dropped": counts.dropped,
        "pairs_in_flight": counts.in_flight,
        "lag_max": max((version - pair.policy_version for pair in rollout.pairs), default=0),
        "tokens_generated": sum(len(r.token_ids) for r in rollout.responses),
        "t_generate": rollout.load + rollout.generate,
        "t_edit": rollout.edit,
        "restarts": fleet.faults.restarts,
    }
