"""The ledger: one row per pair or dropped item, one immutable Parquet file per step.

    issue ──▶ response ──▶ trained … | skipped … | drop ──▶ close_step

Every issued item (one answer to be given) ends exactly once: in the pairs made of it, all of them
in one step, or dropped with a reason. At each step

    issued = trained + dropped + in_flight

is checked over the items of the whole run, across kills and resumes; `skipped` (the step's loss
was not finite) counts as dropped. Patient ids are never stored here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medray.errors import RunFailed, UserError
from medray.files import replacing
from medray.ledger_columns import SCHEMA, case_columns, pair_columns, score_columns, stored_text
from medray.records import Case, Dropped, Pair, PairScore, Response
from medray.rundir import RunDirectory, step_files, step_of

_EMPTY = SCHEMA.empty_table()
_TOTALS = b"medray.totals"  # metadata key in each file: the run's counts when it was written
_BUG = "this is a bug in medray: please report it with the logs"


class LedgerError(RunFailed):
    """Ledger mismatch: an id is unknown, was recorded twice, or has no reason."""


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


@dataclass(frozen=True, slots=True)
class _History:
    """Earlier steps of the run: the ids that they ended, their counts, the last step."""

    ended: frozenset[str] = frozenset()
    totals: StepCounts = StepCounts()
    last_step: int = 0


@dataclass(slots=True)
class _Ending:
    """An item that ended in pairs of the step that is not yet closed: their ids and status."""

    case: Case
    status: str
    pair_ids: set[str] = field(default_factory=set)


class Ledger:
    """The ledger of a new run; `Ledger.reopen` continues that of a resumed one.

    `item_id` is the id under which an item was issued; `pair_id` is the row's own: the same if the
    item has one row, else followed by the number of the sentence. Every method raises LedgerError
    with the ids if they are inconsistent.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        *,
        needs_responses: bool = True,
        _history: _History | None = None,
    ) -> None:
        """`needs_responses`: False if no side of any pair is sampled."""
        self.needs_responses = needs_responses
        self.folder = RunDirectory(run_dir).ledger
        if _history is None and step_files(self.folder, ".parquet"):
            why = "already has steps of an earlier run"
            raise LedgerError(str(self.folder), why, "resume that run, or give another run.name")
        self.folder.mkdir(parents=True, exist_ok=True)
        history = _history or _History()
        self._last_step = history.last_step
        self._totals = self._before = history.totals  # now, and at the end of the last step
        self._ended = set(history.ended)  # in the entire run
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
        files = step_files(folder, ".parquet")
        history = _read_history(folder, [path for path in files if step_of(path) <= last_step])
        if history.last_step != last_step:
            why = f"ends at step {history.last_step}, but the checkpoint is of step {last_step}"
            raise LedgerError(str(folder), why, "restore the files, or start a new run")
        for path in [*files, *folder.glob(".step-*.tmp")]:
            if path.suffix == ".tmp" or step_of(path) > last_step:
                path.unlink()
        return cls(run_dir, needs_responses=needs_responses, _history=history)

    @property
    def totals(self) -> StepCounts:
        """Counts since the first step of the run, including before it was resumed."""
        return self._totals

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Ids issued and not yet ended, in order of issue."""
        return tuple(self._open)

    def issue(self, items: Iterable[tuple[str, Case]]) -> None:
        """Register item ids with their cases."""
        for item_id, case in items:
            if item_id in self._open or item_id in self._ended:
                raise LedgerError(item_id, "was issued twice", _BUG)
            self._open[item_id] = case
            self._count(issued=1)

    def response(self, response: Response) -> None:
        """Record the response to an issued item, which is required before it can be trained."""
        case = self._case(response.item_id, response.case_id)
        if self._responses.setdefault(response.item_id, response) != response:
            raise LedgerError(response.item_id, f"two responses for case {case.case_id}", _BUG)

    def trained(self, pair: Pair, score: PairScore) -> None:
        """Record that the pair was in a step that changed the weights."""
        self._scored(pair, score)
        if not math.isfinite(score.loss):
            raise LedgerError(pair.pair_id, f"trained with a loss of {score.loss}", _BUG)
        self._end_in_pair(pair, "trained", None, score)

    def skipped(self, pair: Pair, score: PairScore, reason: str = "non-finite-loss") -> None:
        """Record that the pair was scored in a step that did not change the weights: dropped."""
        self._scored(pair, score)
        self._end_in_pair(pair, "skipped", reason, score)

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
        table = pa.Table.from_pylist([{**row, "step": step} for row in self._rows], schema=SCHEMA)
        totals = json.dumps(asdict(self._totals)).encode()
        with replacing(self.folder / f"step-{step:06d}.parquet") as temporary:
            pq.write_table(table.replace_schema_metadata({_TOTALS: totals}), temporary)
        now, before = self._totals, self._before
        self._rows, self._before, self._last_step = [], now, step
        for item_id in self._ending:
            self._responses.pop(item_id, None)
        self._ending.clear()
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
            why = "was recorded twice" if item_id in self._ended else "was never issued"
            raise LedgerError(item_id, why, _BUG)
        if case.case_id != case_id:
            raise LedgerError(item_id, f"issued for {case.case_id}, ended for {case_id}", _BUG)
        return case

    def _scored(self, pair: Pair, score: PairScore) -> None:
        """Check that the pair is of an issued item; that of sampled answers its response is known.

        Pairs of which no side was sampled come without a response.
        """
        self._case(pair.item_id, pair.case_id)
        if score.pair_id != pair.pair_id:
            raise LedgerError(pair.pair_id, f"has the score of {score.pair_id}", _BUG)
        if self.needs_responses and pair.item_id not in self._responses:
            raise LedgerError(pair.pair_id, "was trained on without a response", _BUG)

    def _end_in_pair(self, pair: Pair, status: str, reason: str | None, score: PairScore) -> None:
        """The row of a pair; the first one of an item ends the item, in its status."""
        case = self._case(pair.item_id, pair.case_id)
        first = pair.item_id not in self._ending
        ending = _Ending(case, status) if first else self._ending[pair.item_id]
        if pair.pair_id in ending.pair_ids:
            raise LedgerError(pair.pair_id, "was recorded twice", _BUG)
        if ending.status != status:
            raise LedgerError(pair.item_id, f"is {status} and {ending.status}", _BUG)
        names = {"pair_id": pair.pair_id, "item_id": pair.item_id}
        content = pair_columns(pair) | score_columns(score)
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
        self._ended.add(item_id)
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
        """The counts, the set of ended ids and the rows are kept separately and must agree."""
        now, before = self._totals, self._before
        ended = now.trained + now.dropped - before.trained - before.dropped
        items = len({row["item_id"] for row in self._rows})
        pairs = sum(row["status"] == "trained" for row in self._rows)
        ids_agree = len(self._ended) == now.trained + now.dropped
        if now.balanced and ended == items and pairs == now.pairs - before.pairs and ids_agree:
            return
        why = (
            f"issued {now.issued} ≠ trained {now.trained} + dropped {now.dropped} + in flight "
            f"{now.in_flight} (items {items}, in flight {', '.join(self._open) or 'none'})"
        )
        raise LedgerError("the ledger does not balance", why, _BUG)


def read_ledger(run_dir: str | os.PathLike[str]) -> pa.Table:
    """All rows of a run, ordered by step, with SCHEMA. Raises UserError if a file is unreadable."""
    tables = [_read(path) for path in step_files(RunDirectory(run_dir).ledger, ".parquet")]
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables] or [_EMPTY])


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        why = f"is not a ledger file ({' '.join(str(error).split())[:200]})"
        raise UserError(str(path), why, "restore it from a copy of the run") from None


def _read_history(folder: Path, files: Sequence[Path]) -> _History:
    """Count the items of the files and compare them with the totals that the last one states."""
    ended: dict[str, bool] = {}  # by item id: whether it was trained on
    pairs, stated = 0, StepCounts()
    for expected, path in enumerate(files, 1):
        if step_of(path) != expected:
            raise LedgerError(str(folder), f"step {expected} is missing", "restore the file")
        table = _read(path, ["pair_id", "item_id", "status"])
        # Rows without item_id are of a version in which an item had one row.
        items = pc.coalesce(table["item_id"], table["pair_id"]).to_pylist()
        trained = pc.equal(table["status"], "trained").to_pylist()
        of_step = dict(zip(items, trained, strict=True))
        if twice := ended.keys() & of_step.keys():
            raise LedgerError(min(twice), f"is in {folder} twice", "restore the files")
        ended |= of_step
        pairs += sum(trained)
        metadata = pq.read_metadata(path).metadata or {}
        stated = StepCounts(**json.loads(metadata.get(_TOTALS, b"{}")))
    trained_items = sum(ended.values())
    if (trained_items, len(ended)) != (stated.trained, stated.trained + stated.dropped):
        why = f"{trained_items} trained of {len(ended)} items, but the last step states {stated}"
        raise LedgerError(str(folder), why, "restore the files")
    dropped = len(ended) - trained_items
    totals = StepCounts(len(ended), trained_items, dropped, in_flight=0, pairs=pairs)
    return _History(frozenset(ended), totals, len(files))
