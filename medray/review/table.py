"""The figures of a review for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medray.review.summary import SPLIT
from medray.terminal import visible

_COLUMNS = ("pairs", "accept rate", "95 % interval", "rejected", "both", "neither", "cannot tell")


def summary_table(summary: Mapping[str, Any]) -> RenderableType:
    """Rates, agreement, and the pairs to look at. Readers' words are text, never markup."""
    several = len(summary["by_reader"]) > 1
    columns = [*_COLUMNS, *([SPLIT] if several else []), "reads well"]
    table = Table("", title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_row("overall", *_cells(summary["overall"], columns), end_section=True)
    groups = [summary["by_edit"], summary["by_error_type"]]
    for group in [*groups, summary["by_reader"]] if several else groups:
        for i, (label, rates) in enumerate(group.items(), 1):
            cells = _cells(rates, columns)
            table.add_row(Text(clean(label)), *cells, end_section=i == len(group))
    lines: list[RenderableType] = [_head(summary), table]
    lines += [*agreement_lines(summary["agreement"], several), _expected(summary)]
    return Group(*lines, *_to_inspect(summary["pairs"]))


def _cells(rates: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    special = {"pairs": f"{rates['pairs']:,}", "95 % interval": interval(rates["interval"])}
    return [
        special[name] if name in special else percent(rates[name.replace(" ", "_")])
        for name in columns
    ]


def _head(summary: Mapping[str, Any]) -> Text:
    readers = ", ".join(map(clean, summary["by_reader"]))
    counts = f"{summary['graded']} of {summary['drawn']} pairs graded"
    return Text(f"review {summary['review']}: {counts} by {readers}")


def agreement_lines(found: Mapping[str, Any] | None, several: bool) -> list[Text]:
    if not several:
        return []
    if found is None:
        return [Text("The readers share no pair, so their agreement is not known.")]
    equal = f"{percent(found['equal'])} of answers equal"
    if found["value"] is None:
        return [Text(f"agreement on {found['pairs']} shared pairs: {equal}, all of them the same")]
    value = f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
    return [Text(f"agreement on {found['pairs']} shared pairs: {found['method']} {value}, {equal}")]


def _expected(summary: Mapping[str, Any]) -> Text:
    found = summary["trained_pairs"]
    rate = f"{percent(found['accept_rate'])} [{interval(found['interval'])}]"
    return Text(f"expected of all {found['pairs']:,} trained pairs of these error types: {rate}")


def _to_inspect(pairs: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Pairs that were not accepted, and all comments."""
    lines: list[Text] = []
    for pair in pairs:
        comments = {name: a["comment"] for name, a in pair["answers"].items() if a["comment"]}
        if pair["outcome"] in (None, "chosen") and not comments:
            continue
        outcome = pair["outcome"] or "not graded"
        name, error_type = clean(pair["pair_id"]), clean(pair["error_type"])
        lines.append(Text(f"  step {pair['step']}  {name}  {error_type}: {outcome}"))
        lines += [Text(f"    {clean(name)}: {clean(text)}") for name, text in comments.items()]
    if lines:
        lines.insert(0, Text("not accepted, or with a comment (see medray pairs RUN --step N):"))
    return lines


def clean(text: str) -> str:
    """One line without characters that control a terminal."""
    return visible(" ".join(text.split()))


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def interval(bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f} %"
