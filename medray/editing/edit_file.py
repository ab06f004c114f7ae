"""Edits a file: what ``medray edit IN.jsonl -o OUT.jsonl`` does."""

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
    """Edit every line of `inp` and write it to `out`; returns the number of each verdict.

    A line is an object with the strings question, gold and model_answer (numbers are read as
    text); its other keys are kept. The keys added are `verdict`, `edited` (the corrected answer,
    the answer itself if it is right, null on abstention), `opposite` (the wrong variant of a
    right answer, else null), `spans` (the ranges of model_answer with the replacements that
    turn a wrong answer into `edited` and a right one into `opposite`) and `reason`.
    `out` is written completely or not at all; blank lines are skipped.
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
        edit = editor.edit(question, gold, answer, seed=seed)
        counts[edit.verdict] += 1
        rows.append(json.dumps({**row, **_columns(answer, edit)}, ensure_ascii=True))
    with output_file(out) as temporary:
        temporary.write_text("".join(row + "\n" for row in rows), encoding="ascii")
    return counts


def _columns(answer: str, edit: Edit) -> dict[str, Any]:
    spans = [
        {
            "start": old.start,
            "end": old.end,
            "replacement": edit.text[new.start : new.end],
            "error_type": old.error_type,
            "severity": old.severity,
            "reason": old.reason,
        }
        for old, new in zip(edit.answer_spans, edit.text_spans, strict=True)
    ]
    return {
        "verdict": edit.verdict,
        "edited": {"wrong": edit.text, "right": answer}.get(edit.verdict),
        "spans": spans,
        "opposite": edit.text if edit.verdict == "right" else None,
        "reason": edit.reason,
    }


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(str(path), "no such file", "give the path of a JSON Lines file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), f"cannot be read ({error})", "give a UTF-8 file") from None


def _row(line: str, location: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(location, f"not valid JSON ({error})", "fix the line") from None
    if not isinstance(row, dict):
        raise DataError(location, "not an object", f"write an object with {', '.join(_KEYS)}")
    return row


def _text(row: dict[str, Any], key: str, location: str) -> str:
    value = row.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        why = "is missing" if key not in row else f"is {type(value).__name__}, not a text"
        raise DataError(f"{location}: {key}", why, f"every line needs {', '.join(_KEYS)}")
    return value
