"""The editor over a file: what ``medray edit IN.jsonl -o OUT.jsonl`` does."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from medray.editing.base import Editor
from medray.editing.findings import FindingsEditor
from medray.errors import DataError
from medray.files import output_file
from medray.records import Edit

_KEYS = ("question", "gold", "model_answer")


def edit_file(inp: Path, out: Path, *, seed: int = 0, editor: Editor | None = None) -> Counter[str]:
    """Edit every line of `inp` into `out`; returns how often each verdict was given.

    A line is an object with the texts question, gold and model_answer (numbers are read as
    text); what else it holds is kept. Added are `verdict`, `edited` (the corrected answer, the
    answer itself where it is right, null on abstention), `opposite` (the wrong variant of a
    right answer, else null), `spans` (the ranges of model_answer with the replacements that
    make `edited` of a wrong answer and `opposite` of a right one) and `reason`.
    `out` appears whole or not at all; blank lines are left out.
    Raises DataError naming the file and the line.
    """
    editor = editor or FindingsEditor()
    counts: Counter[str] = Counter()
    rows: list[str] = []
    for number, line in enumerate(_lines(inp), start=1):
        if not line.strip():
            continue
        row = _row(line, f"{inp}:{number}")
        question, gold, answer = (_text(row, key, f"{inp}:{number}") for key in _KEYS)
        made = editor.edit(question, gold, answer, seed=seed)
        counts[made.verdict] += 1
        rows.append(json.dumps({**row, **_columns(answer, made)}, ensure_ascii=True))
    with output_file(out) as temporary:
        temporary.write_text("".join(row + "\n" for row in rows), encoding="ascii")
    return counts


def _columns(answer: str, made: Edit) -> dict[str, Any]:
    spans = [
        {
            "start": at.start,
            "end": at.end,
            "replacement": made.text[to.start : to.end],
            "error_type": at.error_type,
            "severity": at.severity,
            "reason": at.reason,
        }
        for at, to in zip(made.answer_spans, made.text_spans, strict=True)
    ]
    return {
        "verdict": made.verdict,
        "edited": {"wrong": made.text, "right": answer}.get(made.verdict),
        "spans": spans,
        "opposite": made.text if made.verdict == "right" else None,
        "reason": made.reason,
    }


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(str(path), "no such file", "give the path of a JSON Lines file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), f"cannot be read ({error})", "give a UTF-8 file") from None


def _row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(place, f"not valid JSON ({error})", "mend the line") from None
    if not isinstance(row, dict):
        raise DataError(place, "not an object", f"write an object with {', '.join(_KEYS)}")
    return row


def _text(row: dict[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        why = "is missing" if key not in row else f"is {type(value).__name__}, not a text"
        raise DataError(f"{place}: {key}", why, f"every line needs {', '.join(_KEYS)}")
    return value
