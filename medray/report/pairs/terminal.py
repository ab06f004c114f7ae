"""The pairs of one step for the terminal.

They are a rich Text rather than markup, so that nothing in a model's answer can be mistaken for a
tag or an emoji code.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from rich.text import Text

from medray.report.charts import number
from medray.report.pairs.rows import error_types, rows_of_step, text_parts
from medray.terminal import visible


def pairs_text(table: pa.Table, step: int | None = None) -> Text:
    """All pairs of one step (None: the last that has any), with the edited spans marked.

    Control characters are made visible, so that no answer can control the terminal.
    """
    rows = rows_of_step(table, step)
    if not rows:
        return Text("No pairs." if step is None else f"No pairs in step {step}.")
    head = Text.assemble((f"Step {rows[0]['step']}", "bold"), f", {len(rows)} pairs")
    return Text("\n\n").join([head, *(_pair(row) for row in rows)])


def _pair(row: dict[str, Any]) -> Text:
    lines = [
        Text.assemble((visible(row["pair_id"]), "bold"), f"  {visible(row['case_id'])}"),
        Text(visible(" · ".join(_facts(row))), "dim"),
        Text(f"  question   {visible(row['question'])}"),
        Text(f"  reference  {visible(row['reference'])}"),
        *_before(row),
        Text.assemble(("✓", "green"), " chosen     ", _marked(row, "chosen", "green")),
        Text.assemble(("✗", "red"), " rejected   ", _marked(row, "rejected", "red")),
    ]
    return Text("\n").join(lines)


def _before(row: dict[str, Any]) -> list[Text]:
    """The beginning of the answer that both sides of a sentence's pair stand behind."""
    if row["scope"] != "sentence":
        return []
    return [Text.assemble("  behind     ", (visible(row["prefix"]), "dim"))]


def _facts(row: dict[str, Any]) -> list[str]:
    outcome = f"loss {_value(row, 'loss')}"
    part = f"sentence {row['sentence'] + 1}" if row["scope"] == "sentence" else "answer"
    if row["status"] != "trained":
        outcome = f"{row['status']}: {row['drop_reason']}"
    return [
        f"policy version {row['policy_version']}",
        f"the {part} was {'right' if row['response_was_correct'] else 'wrong'}",
        ", ".join(error_types(row)) or "no span marked",
        f"relevance {_value(row, 'relevance')}",
        outcome,
    ]


def _marked(row: dict[str, Any], side: str, colour: str) -> Text:
    marked = Text()
    for part in text_parts(row[side], row[f"{side}_spans"]):
        if part.edited:
            marked.append(visible(part.text) or "‸", f"bold underline {colour}")
        else:
            marked.append(visible(part.text))
    return marked


def _value(row: dict[str, Any], key: str) -> str:
    return "–" if row[key] is None else number(row[key])
