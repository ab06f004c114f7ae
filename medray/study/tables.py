"""A study's tables: results.parquet (long), table.md, table.csv, table.tex."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medray.files import replacing, write_text
from medray.study.comparison import Comparison, Group
from medray.study.design import Study, Table
from medray.study.results import CellResult


def write_tables(
    study: Study, results: Sequence[CellResult], comparisons: Sequence[Comparison]
) -> Path:
    """Write all of them into the study's folder; returns the path of table.md."""
    folder = study.path
    _write_long(folder / "results.parquet", results)
    write_text(folder / "table.md", _markdown(study, results, comparisons))
    write_text(folder / "table.csv", _csv(comparisons))
    write_text(folder / "table.tex", "\n".join(map(_latex, comparisons)))
    return folder / "table.md"


def _write_long(path: Path, results: Sequence[CellResult]) -> None:
    """One row per cell and figure; a failed cell has one row, with its reason."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for result in results:
        cell = {"cell": result.cell.name, **dict(result.cell.levels)}
        status = "failed" if result.failure else "done"
        common = cell | {"status": status, "failure": result.failure, "step": result.step}
        if result.failure:
            rows.append(common | {"figure": None, "value": None, "low": None, "high": None})
            continue
        for figure, value in result.figures.items():
            low, high = result.intervals.get(figure, (None, None))
            rows.append(common | {"figure": figure, "value": value, "low": low, "high": high})
    names = list(dict.fromkeys(name for row in rows for name in row))
    real, text = pa.float64(), pa.string()
    types = {"step": pa.int64(), "value": real, "low": real, "high": real}
    schema = pa.schema([(name, types.get(name, text)) for name in names])
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def table_of(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows, as texts."""
    figures, rows = comparison.figures, []
    for group in comparison.groups:
        labels = [label for _, label in group.levels]
        runs = f"{len(group.done)} of {len(group.results)}"
        rows.append([*labels, runs, *(_value(group, figure) for figure in figures)])
    return [*comparison.keys, "runs", *figures], rows


def _value(group: Group, figure: str) -> str:
    """ "0.952 [0.94, 0.96] (+0.020, p .003)": mean, interval, difference, corrected p."""
    if figure not in group.means:
        return "–"
    text = f"{group.means[figure]:.3f}"
    if figure in group.intervals:
        low, high = group.intervals[figure]
        text += f" [{low:.3f}, {high:.3f}]"
    if (difference := group.differences.get(figure)) is not None:
        text += f" ({difference['value']:+.3f}, p {difference['p_holm']:.3f})"
    return text


def _markdown(
    study: Study, results: Sequence[CellResult], comparisons: Sequence[Comparison]
) -> str:
    lines = [f"# {study.name}"]
    for comparison in comparisons:
        header, rows = table_of(comparison)
        if comparison.table.name:
            lines += ["", f"## {_plain(comparison.table.name)}"]
        lines += ["", caption(comparison.table), ""]
        lines += [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    failures = [result for result in results if result.failure]
    if failures:
        lines += ["", "Cells without a result:", ""]
        lines += [f"- {_plain(r.cell.name)}: {_plain(r.failure)}" for r in failures]
    return "\n".join(lines) + "\n"


def caption(table: Table) -> str:
    """What a value of the table consists of."""
    text = "Mean over seeds [95 % interval over images, seeds pooled]"
    if not table.baseline:
        return text + "."
    named = ", ".join(f"{key} = {label}" for key, label in table.baseline)
    return (
        f"{text} (difference to {named} on the same cases, p of a paired permutation test, "
        "corrected by Holm's method over all rows of a column)."
    )


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(map(_plain, values)) + " |"


def _plain(text: str) -> str:
    """One line, without what Markdown would read as a cell or as markup."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "|<>`*" else c for c in text)


def _csv(comparisons: Sequence[Comparison]) -> str:
    """One row per table, group and figure, with every number apart."""
    keys = list(dict.fromkeys(key for comparison in comparisons for key in comparison.keys))
    numbers = ("mean", "low", "high", "difference", "difference_low", "difference_high")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", *keys, "runs", "failed", "figure", *numbers, "p", "p_holm", "rank"])
    for comparison in comparisons:
        for group in comparison.groups:
            labels = [dict(group.levels).get(key, "") for key in keys]
            counts = [len(group.done), len(group.failures)]
            for figure in group.means:
                start = [comparison.table.name, *labels, *counts, figure]
                writer.writerow([*start, *_numbers(group, figure), group.ranks[figure]])
    return buffer.getvalue()


def _numbers(group: Group, figure: str) -> list[float | str]:
    low, high = group.intervals.get(figure, ("", ""))
    d = group.differences.get(figure, {})
    compared = [d.get(name, "") for name in ("value", "low", "high", "p", "p_holm")]
    return [group.means[figure], low, high, *compared]


def _latex(comparison: Comparison) -> str:
    header, rows = table_of(comparison)
    columns = "l" * len(header)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _row(header), r"\midrule"]
    return "\n".join([*lines, *map(_row, rows), r"\bottomrule", r"\end{tabular}"]) + "\n"


def _row(values: Sequence[str]) -> str:
    return " & ".join(map(_tex, values)) + r" \\"


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {"–": "--"}
    return "".join(special.get(c, c) for c in text)
