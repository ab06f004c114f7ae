"""Pairs and dropped answers for the terminal.

They are a rich Text rather than markup, so that nothing in a model's answer can be mistaken for a
tag or an emoji code. Control characters are made visible: no answer can control the terminal.
"""

from __future__ import annotations

from typing import Any

from rich.text import Text

from medray.report.charts import number
from medray.report.pairs.drop_reasons import explain
from medray.report.pairs.rows import error_types, text_parts
from medray.terminal import visible


def pair_text(row: dict[str, Any]) -> Text:
    """One row of the ledger, with the edited spans marked."""
    lines = [
        Text.assemble((visible(row["pair_id"]), "bold"), f"  {visible(row['case_id'])}"),
        Text(visible(" · ".join(_facts(row))), "dim"),
        Text(f"  question   {visible(row['question'])}"),
        Text(f"  reference  {visible(row['reference'])}"),
        *(_dropped(row) if row["chosen"] is None else _sides(row)),
    ]
    return Text("\n").join(lines)


def _sides(row: dict[str, Any]) -> list[Text]:
    lines = [
        Text.assemble(("✓", "green"), " chosen     ", _marked(row, "chosen", "green")),
        Text.assemble(("✗", "red"), " rejected   ", _marked(row, "rejected", "red")),
    ]
    if (
        row["scope"] == "sentence" and row["prefix"]
    ):  # the beginning of the answer that both sides stand behind
        lines.insert(0, Text.assemble("  behind     ", (visible(row["prefix"]), "dim")))
    return lines


def _dropped(row: dict[str, Any]) -> list[Text]:
    what_happened, what_to_do = explain(row["drop_reason"] or "")
    lines = [("answer", row["response"]), ("dropped", what_happened), ("what to do", what_to_do)]
    return [Text(f"  {name:<11}{visible(text)}") for name, text in lines if text]


def _facts(row: dict[str, Any]) -> list[str]:
    step = [f"step {row['step']}", f"policy version {row['policy_version']}"]
    if row["chosen"] is None:
        return [*step, f"dropped: {row['drop_reason']}"]
    outcome = f"loss {_value(row, 'loss')}"
    part = f"sentence {row['sentence'] + 1}" if row["scope"] == "sentence" else "answer"
    if row["status"] != "trained":
        outcome = f"{row['status']}: {row['drop_reason']}"
    return [
        *step,
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
