"""The figures of graded answers for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medray.review.table import agreement_lines, clean, interval, percent

_COLUMNS = (
    "answers",
    "accept rate",
    "95 % interval",
    "wrong",
    "cannot tell",
    "split",
    "reads well",
)


def answer_table(summary: Mapping[str, Any]) -> RenderableType:
    """One table per evaluation, which is better, and the agreement of the readers."""
    first = summary["evaluations"][0]
    readers = ", ".join(map(clean, first["by_reader"]))
    counts = f"{summary['graded']} of {summary['drawn']} cases graded"
    lines: list[RenderableType] = [Text(f"review {summary['review']}: {counts} by {readers}")]
    for evaluation in summary["evaluations"]:
        lines += [Text(clean(evaluation["name"])), _table(evaluation), *_expected(evaluation)]
    lines += _preference(summary["preference"])
    lines += agreement_lines(summary["agreement"], len(first["by_reader"]) > 1)
    return Group(*lines)


def _table(evaluation: Mapping[str, Any]) -> Table:
    table = Table("", title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    table.add_row("overall", *_cells(evaluation["overall"]), end_section=True)
    for prefix, key in (("", "by_error_type"), ("verdict ", "by_verdict"), ("", "by_reader")):
        rows = list(evaluation[key].items())
        for number, (label, rates) in enumerate(rows, 1):
            name = Text(prefix + clean(label))
            table.add_row(name, *_cells(rates), end_section=number == len(rows))
    return table


def _cells(rates: Mapping[str, Any]) -> Sequence[str]:
    shares = ("wrong", "cannot_tell", "split", "reads_well")
    return [
        f"{rates['answers']:,}",
        percent(rates["accept_rate"]),
        interval(rates["interval"]),
        *(percent(rates[name]) for name in shares),
    ]


def _expected(evaluation: Mapping[str, Any]) -> list[Text]:
    found = evaluation["all_answers"]
    if found is None:
        return []
    rate = f"{percent(found['accept_rate'])} [{interval(found['interval'])}]"
    return [Text(f"expected of all {found['answers']:,} answers of these types: {rate}")]


def _preference(found: Mapping[str, Any] | None) -> list[Text]:
    if found is None:
        return []
    alone = f"right alone: {found['first_alone']} and {found['second_alone']}"
    rest = f"both {found['both']}, neither or not told {found['neither']}"
    return [Text(f"of {found['cases']} cases {alone}, {rest}; p = {found['p']:.3g} (sign test)")]
