"""The ledger: one row per pair or dropped item, one immutable Parquet file per step.

    issue ──▶ response ──▶ trained … | skipped … | drop ──▶ close_step

Every issued item (one answer to be given) ends exactly once: in the pairs made of it, all of them
in one step, or dropped with a reason. At each step

    issued = trained + dropped + in_flight

is checked over the items of the whole run, across kills and resumes; `skipped` (the step's loss
was not finite) counts as dropped. Patient ids are never stored here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from medray.ledger.columns import (
    SCHEMA,
    case_columns,
    pair_columns,
    score_columns,
    stored_text,
    token_columns,
)
from medray.ledger.files import (
    Counts,
    LedgerError,
    compact,
    counted,
    cut_after,
    list_files,
    read_steps,
    write_step,
)
from medray.records import Case, Dropped, Pair, PairScore, Response, TokenRatios
from medray.rundir import RunDirectory

_BUG = "this is a bug in medray: please report it with the logs"


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Items issued and ended in one step (or in the run, see `Ledger.totals`), and those open.

    `pairs`: those trained on; an item may have several.

    >>> StepCounts(issued=32, trained=30, dropped=2, in_flight=0, pairs=41).balanced
    True
    """

    issued: int = 0
    trained: int = 0
    dropped: int = 0
    in_flight: int = 0
    pairs: int = 0

    @property
    def balanced(self) -> bool:
        return self.issued == self.trained + self.dropped + self.in_flight

    @property
    def ended(self) -> Counts:
        return Counts(self.trained, self.dropped, self.pairs)


@dataclass(slots=True)
class _Ending:
    """An item that ended in pairs of the step that is not yet closed: their ids and status."""

    case: Case
    status: str
    pair_ids: set[str] = field(default_factory=set)


class Ledger:
    """The ledger of a new run; `Ledger.reopen` continues that of a resumed one.

    Items are issued for a step that is not yet closed. What it keeps in memory are the items of
    such steps: its size does not grow with the run. `item_id` is the id under which an item was
    issued; `pair_id` is the row's own: the same if the item has one row, else followed by the
    number of the sentence. Every method raises LedgerError with the ids if they are inconsistent.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        *,
        needs_responses: bool = True,
        _last_step: int = 0,
        _ended: Counts | None = None,
    ) -> None:
        """`needs_responses`: False if no side of any pair is sampled."""
        self.needs_responses = needs_responses
        self.folder = RunDirectory(run_dir).ledger
        if _ended is None and list_files(self.folder):
            why = "already has steps of an earlier run"
            raise LedgerError(str(self.folder), why, "resume that run, or give another run.name")
        self.folder.mkdir(parents=True, exist_ok=True)
        ended = _ended or Counts()
        self._last_step = _last_step
        items = ended.trained + ended.dropped
        self._totals = StepCounts(
            items, ended.trained, ended.dropped, in_flight=0, pairs=ended.pairs
        )
        self._before = self._totals  # at the end of the last step
        self._issued: dict[int, set[str]] = {}  # of steps that are not closed: all their ids
        self._open: dict[str, Case] = {}  # issued, not yet ended
        self._ending: dict[str, _Ending] = {}
        self._responses: dict[str, Response] = {}  # of the open and of the ending items
        self._rows: list[dict[str, Any]] = []  # since the last step was closed

    @classmethod
    def reopen(
        cls, run_dir: str | os.PathLike[str], last_step: int, *, needs_responses: bool = True
    ) -> Ledger:
        """Continue after `last_step`: later step files are deleted, earlier ones are counted.

        Items that were in flight at the checkpoint have no row and must be issued again. Raises
        LedgerError, and deletes nothing, if a step is missing or the files do not add up.
        """
        folder = RunDirectory(run_dir).ledger
        ended = counted(folder, last_step)
        cut_after(folder, last_step)
        return cls(run_dir, needs_responses=needs_responses, _last_step=last_step, _ended=ended)

    @property
    def totals(self) -> StepCounts:
        """Counts since the first step of the run, including before it was resumed."""
        return self._totals

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Ids issued and not yet ended, in order of issue."""
        return tuple(self._open)

    def issue(self, step: int, items: Iterable[tuple[str, Case]]) -> None:
        """Register the ids of items for a step, with their cases."""
        if step <= self._last_step:
            raise LedgerError(f"step {step}", "items were issued after it was closed", _BUG)
        for item_id, case in items:
            if self._is_issued(item_id) or item_id in self._open:
                raise LedgerError(item_id, "was issued twice", _BUG)
            self._issued.setdefault(step, set()).add(item_id)
            self._open[item_id] = case
            self._count(issued=1)

    def response(self, response: Response) -> None:
        """Record the response to an issued item, which is required before it can be trained."""
        case = self._case(response.item_id, response.case_id)
        if self._responses.setdefault(response.item_id, response) != response:
            raise LedgerError(response.item_id, f"two responses for case {case.case_id}", _BUG)

    def trained(self, pair: Pair, score: PairScore, tokens: TokenRatios | None = None) -> None:
        """Record that the pair was in a step that changed the weights."""
        self._scored(pair, score)
        if not math.isfinite(score.loss):
            raise LedgerError(pair.pair_id, f"trained with a loss of {score.loss}", _BUG)
        self._end_in_pair(pair, "trained", None, score_columns(score) | token_columns(tokens))

    def skipped(
        self,
        pair: Pair,
        score: PairScore,
        reason: str = "non-finite-loss",
        tokens: TokenRatios | None = None,
    ) -> None:
        """Record that the pair was scored in a step that did not change the weights: dropped."""
        self._scored(pair, score)
        self._end_in_pair(pair, "skipped", reason, score_columns(score) | token_columns(tokens))

    def drop(self, dropped: Dropped) -> None:
        """Record that the item became no trained pair, for `dropped.reason`."""
        item_id = dropped.item_id
        case = self._case(item_id, dropped.case_id)
        if item_id in self._ending:
            raise LedgerError(item_id, "was recorded twice", _BUG)
        names = {"pair_id": item_id, "item_id": item_id}
        self._record(names, dropped.policy_version, "dropped", dropped.reason, case)
        self._end(item_id, trained=False)
        self._responses.pop(item_id, None)

    def close_step(self, step: int) -> StepCounts:
        """Check the identity, write ledger/step-NNNNNN.parquet, return the counts of this step.

        `in_flight` counts the items that remain open. Steps are closed in order, from 1, no gaps.
        """
        if step != self._last_step + 1:
            why = f"closed after step {self._last_step}"
            raise LedgerError(f"step {step}", why, _BUG)
        self._check_identity()
        now, before = self._totals, self._before
        table = pa.Table.from_pylist([{**row, "step": step} for row in self._rows], schema=SCHEMA)
        write_step(self.folder, step, table, before.ended, now.ended)
        compact(self.folder, step)
        self._rows, self._before, self._last_step = [], now, step
        for item_id in self._ending:
            self._responses.pop(item_id, None)
        self._ending.clear()
        self._issued = {of: ids for of, ids in self._issued.items() if of > step}
        return StepCounts(
            issued=now.issued - before.issued,
            trained=now.trained - before.trained,
            dropped=now.dropped - before.dropped,
            in_flight=now.in_flight,
            pairs=now.pairs - before.pairs,
        )

    def _case(self, item_id: str, case_id: str) -> Case:
        """The case of an item that is open, or that has pairs in this step. Raises LedgerError if
        it is neither, or of another case."""
        ending = self._ending.get(item_id)
        case = ending.case if ending else self._open.get(item_id)
        if case is None:
            why = "was never issued, or ended in an earlier step"
            if self._is_issued(item_id):
                why = "was recorded twice"
            raise LedgerError(item_id, why, _BUG)
        if case.case_id != case_id:
            raise LedgerError(item_id, f"issued for {case.case_id}, ended for {case_id}", _BUG)
        return case

    def _is_issued(self, item_id: str) -> bool:
        """Whether an item was issued for a step that is not closed."""
        return any(item_id in ids for ids in self._issued.values())

    def _scored(self, pair: Pair, score: PairScore) -> None:
        """Check that the pair is of an issued item; that of sampled answers its response is known.

        Pairs of which no side was sampled come without a response.
        """
        self._case(pair.item_id, pair.case_id)
        if score.pair_id != pair.pair_id:
            raise LedgerError(pair.pair_id, f"has the score of {score.pair_id}", _BUG)
        if self.needs_responses and pair.item_id not in self._responses:
            raise LedgerError(pair.pair_id, "was trained on without a response", _BUG)

    def _end_in_pair(
        self, pair: Pair, status: str, reason: str | None, scores: dict[str, Any]
    ) -> None:
        """The row of a pair; the first one of an item ends the item, in its status."""
        case = self._case(pair.item_id, pair.case_id)
        first = pair.item_id not in self._ending
        ending = _Ending(case, status) if first else self._ending[pair.item_id]
        if pair.pair_id in ending.pair_ids:
            raise LedgerError(pair.pair_id, "was recorded twice", _BUG)
        if ending.status != status:
            raise LedgerError(pair.item_id, f"is {status} and {ending.status}", _BUG)
        names = {"pair_id": pair.pair_id, "item_id": pair.item_id}
        content = pair_columns(pair) | scores
        self._record(names | content, pair.policy_version, status, reason, case)
        if first:
            self._end(pair.item_id, trained=status == "trained")
        self._ending[pair.item_id] = ending
        ending.pair_ids.add(pair.pair_id)
        self._count(pairs=int(status == "trained"))

    def _record(
        self,
        columns: dict[str, Any],
        policy_version: int,
        status: str,
        reason: str | None,
        case: Case,
    ) -> None:
        item_id = columns["item_id"]
        if status != "trained" and not (reason or "").strip():
            raise LedgerError(item_id, f"{status} without a reason", _BUG)
        response = self._responses.get(item_id)
        # A continued answer may end under newer weights than it began with, never older ones.
        if response is not None and response.policy_version > policy_version:
            versions = f"of version {policy_version}, its response of {response.policy_version}"
            raise LedgerError(item_id, versions, _BUG)
        outcome = {
            "policy_version": policy_version,
            "status": status,
            "drop_reason": stored_text(reason),
            "response": stored_text(response.text if response else None),
        }
        self._rows.append(columns | case_columns(case) | outcome)

    def _end(self, item_id: str, *, trained: bool) -> None:
        del self._open[item_id]
        self._count(trained=int(trained), dropped=int(not trained))

    def _count(self, issued: int = 0, trained: int = 0, dropped: int = 0, pairs: int = 0) -> None:
        now = self._totals
        self._totals = StepCounts(
            issued=now.issued + issued,
            trained=now.trained + trained,
            dropped=now.dropped + dropped,
            in_flight=len(self._open),
            pairs=now.pairs + pairs,
        )

    def _check_identity(self) -> None:
        """The counts, the open ids and the rows are kept separately and must agree."""
        now, before = self._totals, self._before
        ended = now.trained + now.dropped - before.trained - before.dropped
        items = len({row["item_id"] for row in self._rows})
        pairs = sum(row["status"] == "trained" for row in self._rows)
        open_agree = now.in_flight == len(self._open)
        if now.balanced and ended == items and pairs == now.pairs - before.pairs and open_agree:
            return
        why = (
            f"issued {now.issued} ≠ trained {now.trained} + dropped {now.dropped} + in flight "
            f"{now.in_flight} (items {items}, in flight {', '.join(self._open) or 'none'})"
        )
        raise LedgerError("the ledger does not balance", why, _BUG)


def read_ledger(run_dir: str | os.PathLike[str]) -> pa.Table:
    """All rows of a run, ordered by step, with SCHEMA: in memory. Raises UserError if a file is
    unreadable."""
    return pa.concat_tables([*read_steps(RunDirectory(run_dir).ledger)] or [SCHEMA.empty_table()])
