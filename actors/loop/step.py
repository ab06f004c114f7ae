"""One optimiser step: its rows in the ledger, its row of metrics, the new state."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from math import nan
from typing import Any

from actors.fleet import Fleet, StepRollout
from actors.weights.checkpoint import State
from medray.config import TargetingConfig
from medray.errors import RunFailed
from medray.ledger import Ledger, StepCounts
from medray.records import Dropped, StepReport
from medray.targeting import Tally, classify_errors

MAX_SKIPPED_STEPS = 5  # in a row


async def learn(
    fleet: Fleet, ledger: Ledger, rollout: StepRollout, state: State
) -> tuple[StepReport, dict[str, Any], State]:
    """Learn from a rollout, and account for every item of it."""
    targeting = fleet.config.targeting
    report, seconds = StepReport(state.policy_version, (("loss", nan),), (), skipped=True), 0.0
    if rollout.pairs:
        report, seconds = await fleet.learn(rollout.edits, state.policy_version)
    counts = account(ledger, rollout, report)
    row = measure(rollout, report, counts) | {"t_learn": seconds}
    row["restarts"] = fleet.budget.restarts
    tally = Tally.from_dict(state.tally)
    if targeting.strength:
        tally = count_errors(tally, rollout, report, targeting)
        row |= tally.metrics()
    version = state.policy_version + (not report.skipped)
    return report, row, State(rollout.step, version, rollout.position, tally.to_dict())


class StepClock:
    """The seconds of a step, without those in which it waits for what is no part of it."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within it the clock stands still."""
        seconds = self.seconds
        try:
            yield
        finally:
            self._start = time.monotonic() - seconds


class Progress:
    """Counts the steps in a row that changed no weights."""

    def __init__(self) -> None:
        self.skipped = 0

    def require(self, step: int, last: StepReport) -> None:
        """Raise RunFailed after MAX_SKIPPED_STEPS of them."""
        self.skipped = self.skipped + 1 if last.skipped else 0
        if self.skipped < MAX_SKIPPED_STEPS:
            return
        why, remedy = "non-finite losses", "lower learner.lr"
        if not last.scores:
            why, remedy = "steps without a pair", "look at `medray pairs` for the reasons"
        raise RunFailed(f"step {step}", f"{MAX_SKIPPED_STEPS} {why} in a row", remedy)


def account(ledger: Ledger, rollout: StepRollout, report: StepReport) -> StepCounts:
    """Record what became of every item of the step in the ledger, and close the step."""
    version = report.policy_version
    for item in rollout.unusable:
        ledger.drop(Dropped(item.item_id, item.case_id, version, item.reason))
    for response in rollout.responses:
        ledger.response(response)
    for dropped in rollout.dropped:
        ledger.drop(dropped)
    scores = {score.pair_id: score for score in report.scores}
    tokens = {ratios.pair_id: ratios for ratios in report.token_ratios}
    settle = ledger.skipped if report.skipped else ledger.trained
    for pair in sorted(rollout.pairs, key=lambda pair: (pair.item_id, pair.pair_id)):
        score = scores[pair.pair_id]
        pair = replace(pair, relevance=score.relevance)
        settle(pair, score, tokens=tokens.get(pair.pair_id))
    return ledger.close_step(rollout.step)


def measure(rollout: StepRollout, report: StepReport, counts: StepCounts) -> dict[str, Any]:
    """The step's row of metrics, without what its weight update will add."""
    version = report.policy_version
    rows = len(rollout.pairs) + len(rollout.dropped) + len(rollout.unusable)
    return dict(report.metrics) | {
        "step": rollout.step,
        "policy_version": version,
        "answers_issued": len(rollout.items),
        "answers_trained": counts.trained,
        "answers_dropped": counts.dropped,
        "answers_in_flight": counts.in_flight,
        "pairs_issued": rows,
        "pairs_trained": counts.pairs,
        "pairs_dropped": rows - counts.pairs,
        "lag_max": max((version - pair.policy_version for pair in rollout.pairs), default=0),
        "tokens_generated": rollout.tokens_sampled,
        "t_generate": rollout.load_seconds + rollout.generate_seconds,
        "t_edit": rollout.edit_seconds,
        "drops": _drops(rollout, skipped=report.skipped),
    }


def _drops(rollout: StepRollout, *, skipped: bool) -> dict[str, int]:
    """How many rows of the step were dropped for which reason."""
    reasons = rollout.reasons
    if skipped and rollout.pairs:
        reasons["non-finite-loss"] = len(rollout.pairs)
    return dict(reasons)


def count_errors(
    tally: Tally, rollout: StepRollout, report: StepReport, targeting: TargetingConfig
) -> Tally:
    """The policy's errors so far, this step's included."""
    cases = {item.item_id: item.case for item in rollout.items}
    scores = {score.pair_id: score for score in report.scores}
    errors = [
        classify_errors(
            cases[pair.item_id], pair, scores[pair.pair_id], targeting.prior_below, targeting.by
        )
        for pair in rollout.pairs
    ]
    return tally.after(errors, targeting.decay)
