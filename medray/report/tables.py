"""The results of a run as table rows: before and after, error types, dropped items.

No difference is called better or worse unless it is clear: the 95 % interval of the paired
difference leaves zero out or, where answers were not kept, the two intervals do not overlap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from medray.report.charts import number
from medray.report.pairs.drop_reasons import explain
from medray.report.vocabulary import (
    ERROR_TYPES,
    EVAL_METRICS,
    OTHER_METRICS,
    WRONG,
    count_behind,
    is_percentage,
    label,
)

# Of an evaluation, and not results
_METADATA = {"n", "answers", "step", "policy_version", "seconds", "clusters", "unusable", "cases"}
LEDGER_COLUMNS = ("item_id", "pair_id", "status", "drop_reason", "rejected_spans")
Evals = Mapping[int, Mapping[str, Any]]
Differences = Mapping[str, Mapping[str, float | None]]  # value, low, high, p by figure


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its 95 % interval as text; "–" and "" if there is none."""

    value: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One row of a table that compares.

    `verdict`: better, worse, same, unclear, or "" (unknown).
    """

    label: str
    key: str
    n: int | None
    before: Figure
    after: Figure
    delta: str
    interval: str
    verdict: str
    hint: str = ""
    count: int = 0  # edits of this error type in the trained pairs
    best: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """A count and its share of the total, in [0, 1]; for a drop reason what it means."""

    label: str
    count: int
    share: float
    meaning: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the answers of a run, counted step by step.

    `trained`: answers that gave a trained pair; `statuses`: rows, that is pairs or dropped answers.
    """

    answers: int
    trained: int
    statuses: Counter[str]
    reasons: Counter[str]
    edits: Counter[str]  # by error type, in trained pairs

    @property
    def dropped(self) -> int:
        return self.answers - self.trained


class Tally:
    """Counts the rows of a ledger as they are read."""

    def __init__(self) -> None:
        self.answers, self.kept = 0, 0
        self.statuses, self.reasons, self.edits = Counter[str](), Counter[str](), Counter[str]()

    def add(self, table: pa.Table) -> None:
        """All rows of some steps, with LEDGER_COLUMNS; no step is in two tables."""
        trained = table.filter(pc.equal(table["status"], "trained"))
        self.answers += _distinct(table)
        self.kept += _distinct(trained)
        self.statuses.update(_counts(table["status"]))
        self.reasons.update(_counts(table["drop_reason"]))
        spans = pc.list_flatten(trained["rejected_spans"].combine_chunks())
        self.edits.update(_counts(pc.struct_field(spans, "error_type")))

    def account(self) -> Account:
        return Account(self.answers, self.kept, self.statuses, self.reasons, self.edits)


def _counts(names: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """How often each name is there; null and "" are none."""
    counted = pc.value_counts(names)
    values, counts = (counted.field(i).to_pylist() for i in range(2))
    return {value: count for value, count in zip(values, counts, strict=True) if value}


def _distinct(table: pa.Table) -> int:
    """The answers that the rows of some steps are of; all pairs of an answer are in one step."""
    return len(pc.unique(pc.coalesce(table["item_id"], table["pair_id"])))


def first_and_last(evals: Evals) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The first and, of at least two, the last evaluation; {} for one that is missing."""
    results = list(evals.values())
    return (results[0] if results else {}), (results[-1] if len(results) > 1 else {})


def evaluation_changes(evals: Evals, differences: Differences | None = None) -> list[Change]:
    """One row per known figure that was measured, then one per other one."""
    rows = compared(*first_and_last(evals), differences or {})
    if len(evals) < 3:
        return rows
    return [replace(row, best=_best(row.key, evals)) for row in rows]


def compared(
    before: Mapping[str, Any], after: Mapping[str, Any], differences: Differences
) -> list[Change]:
    """One row per figure that either evaluation has."""
    present = {**before, **after}
    known = [*EVAL_METRICS, *OTHER_METRICS]
    others = [key for key in present if key not in known and key not in _METADATA]
    return [
        change(key, before, after, differences.get(key), hint=_direction(key))
        for key in (*known, *others)
        if _is_number(present.get(key))
    ]


def error_type_changes(
    evals: Evals, edits: Mapping[str, int], differences: Differences | None = None
) -> list[Change]:
    """Per error type: its rate before and after, and how often a trained pair corrected it."""
    before, after = (_with_rates(result) for result in first_and_last(evals))
    names = {key.removeprefix(WRONG) for key in (*before, *after) if key.startswith(WRONG)}
    paired = differences or {}
    return [
        change(
            WRONG + name,
            before,
            after,
            paired.get(f"by_error_type.{name}"),
            hint=ERROR_TYPES.get(name, ""),
            count=edits.get(name, 0),
        )
        for name in sorted({*names, *edits}, key=lambda name: (-edits.get(name, 0), name))
    ]


def change(
    key: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    difference: Mapping[str, float | None] | None = None,
    *,
    hint: str = "",
    count: int = 0,
) -> Change:
    """One row; fractions are shown as percentages and their difference in points."""
    percent = is_percentage(key)
    old, new = _number_of(key, before), _number_of(key, after)
    delta, interval, verdict = "", "", ""
    if old is not None and new is not None:
        value = new - old
        delta = _points(value, percent)
        low, high = (difference or {}).get("low"), (difference or {}).get("high")
        if low is not None and high is not None:
            interval = (
                f"{_points(low, percent, unit=False)} to {_points(high, percent, unit=False)}"
            )
            clear: bool | None = low > 0 or high < 0
        else:
            clear = _apart(_interval(key, before), _interval(key, after))
        verdict = _verdict(key, value, clear, delta)
    name = key.removeprefix(WRONG) if key.startswith(WRONG) else label(key)
    earlier, later = _figure(key, before), _figure(key, after)
    n = count_behind(key, after or before)
    return Change(name, key, n, earlier, later, delta, interval, verdict, hint, count)


def drop_reasons(account: Account) -> list[Share]:
    """Drop reasons with their counts over all answers, the most frequent first."""
    ordered = sorted(account.reasons.items(), key=lambda item: (-item[1], item[0]))
    answers = max(account.answers, 1)
    return [Share(name, count, count / answers, *explain(name)) for name, count in ordered]


def _verdict(key: str, value: float, clear: bool | None, delta: str) -> str:
    if delta.startswith("±0"):
        return "same"
    higher = _more_is_better(key)
    if clear is None or higher is None:
        return ""
    if not clear:
        return "unclear"
    return "better" if (value > 0) == higher else "worse"


def _more_is_better(key: str) -> bool | None:
    if key in EVAL_METRICS:
        return EVAL_METRICS[key][1]
    if key in OTHER_METRICS:
        return key not in ("unread", "brier")
    return False if key.startswith(WRONG) else None


def _direction(key: str) -> str:
    higher = _more_is_better(key)
    return "" if higher is None else "higher is better" if higher else "lower is better"


def _figure(key: str, result: Mapping[str, Any]) -> Figure:
    value, percent = _number_of(key, result), is_percentage(key)
    if value is None:
        return Figure("–")
    bounds = _interval(key, result)
    if bounds is None:
        return Figure(number(value, percent))
    low, high = (number(bound, percent).removesuffix(" %") for bound in bounds)
    return Figure(number(value, percent), f"{low} to {high}")


def _interval(key: str, result: Mapping[str, Any]) -> tuple[float, float] | None:
    place = f"by_error_type.{key.removeprefix(WRONG)}" if key.startswith(WRONG) else key
    bounds = (result.get("intervals") or {}).get(place)
    return (bounds[0], bounds[1]) if bounds and None not in bounds else None


def _apart(a: tuple[float, float] | None, b: tuple[float, float] | None) -> bool | None:
    """Whether two intervals do not overlap; None if one is unknown."""
    return None if a is None or b is None else a[1] < b[0] or b[1] < a[0]


def _points(value: float, percent: bool, *, unit: bool = True) -> str:
    shown = f"{100 * value:+.1f}" if percent else f"{value:+.3g}"
    if float(shown) == 0:
        return "±0"
    return shown.replace("-", "−") + (" points" if percent and unit else "")


def _best(key: str, evals: Evals) -> str:
    """The best value over all evaluations, and its step."""
    found = best_step(evals, [key])
    if found is None:
        return ""
    _, step = found
    value = _number_of(key, evals[step]) or 0.0
    return f"{number(value, is_percentage(key))} ({step})"


def _with_rates(result: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluation with the rates of its error types beside the other figures."""
    by_type = result.get("by_error_type")
    rows = by_type.items() if isinstance(by_type, Mapping) else ()
    rates = {
        f"{WRONG}{kind}": row["rate"]
        for kind, row in rows
        if isinstance(row, Mapping) and _is_number(row.get("rate"))
    }
    return {**result, **rates}


def _number_of(key: str, result: Mapping[str, Any]) -> float | None:
    value = result.get(key)
    return float(value) if value is not None and _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def best_step(evals: Evals, keys: Sequence[str]) -> tuple[str, int] | None:
    """The first of the figures that was measured, and the step of its best value."""
    for key in keys:
        values = {step: _number_of(key, result) for step, result in evals.items()}
        known = {step: value for step, value in values.items() if value is not None}
        if known and _more_is_better(key) is not None:
            pick = max if _more_is_better(key) else min
            return key, pick(known, key=known.__getitem__)
    return None
