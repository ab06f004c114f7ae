"""The results of a run as table rows: before and after, error types, dropped items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from medray.report.charts import number
from medray.report.vocabulary import EVAL_METRICS

_METADATA = {"n", "step", "policy_version", "seconds", "clusters"}  # of an evaluation; not results


@dataclass(frozen=True, slots=True)
class Change:
    """One row of a before/after table. `verdict` is better, worse, same or "" (unknown)."""

    label: str
    before: str
    after: str
    delta: str
    verdict: str
    hint: str = ""
    count: int = 0  # edits of this error type in the trained pairs


@dataclass(frozen=True, slots=True)
class Share:
    """A count and its share of the total, in [0, 1]."""

    label: str
    count: int
    share: float


def first_and_last(evals: Mapping[int, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first and, of at least two, the last evaluation; {} for one that is missing."""
    results = list(evals.values())
    return (results[0] if results else {}), (results[-1] if len(results) > 1 else {})


def evaluation_changes(evals: Mapping[int, dict[str, Any]]) -> list[Change]:
    """One row per known metric that was measured, then one per other number."""
    before, after = first_and_last(evals)
    present = {**before, **after}
    rows = []
    for key, (label, more_is_better) in EVAL_METRICS.items():
        if _is_number(present.get(key)):
            hint = "higher is better" if more_is_better else "lower is better"
            values = before.get(key), after.get(key)
            rows.append(change(label, *values, more_is_better=more_is_better, hint=hint))
    for key, value in present.items():
        if _is_number(value) and key not in EVAL_METRICS and key not in _METADATA:
            rows.append(change(key, before.get(key), after.get(key), percent=False))
    return rows


def error_type_changes(evals: Mapping[int, dict[str, Any]], table: pa.Table) -> list[Change]:
    """Per error type: its rate before and after, and how often a trained pair corrected it."""
    before, after = (_by_error_type(result) for result in first_and_last(evals))
    edits = _edits(table)
    names = sorted({*before, *after, *edits}, key=lambda name: (-edits[name], name))
    return [
        change(name, before.get(name), after.get(name), more_is_better=False, count=edits[name])
        for name in names
    ]


def change(
    label: str,
    before: float | None,
    after: float | None,
    *,
    more_is_better: bool | None = None,
    percent: bool = True,
    hint: str = "",
    count: int = 0,
) -> Change:
    """One row; fractions are shown as percentages and their difference in points."""
    old, new = ("–" if value is None else number(value, percent) for value in (before, after))
    delta = verdict = ""
    if before is not None and after is not None:
        difference = after - before
        shown = f"{100 * difference:+.1f}" if percent else f"{difference:+.3g}"
        delta = shown.replace("-", "−") + (" points" if percent else "")
        if float(shown) == 0:
            delta, verdict = "±0", "same"
        elif more_is_better is not None:
            verdict = "better" if (difference > 0) == more_is_better else "worse"
    return Change(label, old, new, delta, verdict, hint, count)


def drop_reasons(table: pa.Table) -> list[Share]:
    """Drop reasons with their counts over all issued items, the most frequent first."""
    reasons = Counter(reason for reason in table["drop_reason"].to_pylist() if reason)
    rows = max(table.num_rows, 1)
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return [Share(reason, count, count / rows) for reason, count in ordered]


def statuses(table: pa.Table) -> Counter[str]:
    """Rows by status."""
    return Counter(table["status"].to_pylist())


def _edits(table: pa.Table) -> Counter[str]:
    trained = table.filter(pc.equal(table["status"], "trained"))
    spans = pc.list_flatten(trained["rejected_spans"].combine_chunks())
    return Counter(name for name in pc.struct_field(spans, "error_type").to_pylist() if name)


def _by_error_type(result: Mapping[str, Any]) -> dict[str, float]:
    """Rates by error type of one evaluation: numbers, or mappings with a `rate`."""
    by_error_type = result.get("by_error_type")
    rates: dict[str, float] = {}
    for name, value in (by_error_type if isinstance(by_error_type, Mapping) else {}).items():
        value = value.get("rate") if isinstance(value, Mapping) else value
        if value is not None and _is_number(value):
            rates[str(name)] = float(value)
    return rates


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
