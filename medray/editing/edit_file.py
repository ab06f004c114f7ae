"""Edits a file: what ``medray edit IN.jsonl -o OUT.jsonl`` does."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from medray.editing.base import Editor
from medray.editing.findings import FindingsEditor
from medray.errors import DataError
from medray.files import open_file, output_file
from medray.records import Edit, EditedSentence, VerdictName

_KEYS = ("question", "gold", "model_answer")


def edit_file(inp: Path, out: Path, *, seed: int = 0, editor: Editor | None = None) -> Counter[str]:
    """Edit every line of `inp` and write it to `out`; returns the number of each verdict.

    A line is an object with the strings question, gold and model_answer (numbers are read as
    text); its other keys are kept. The keys added:

    - `verdict`: right, wrong or abstain; `reason`: why.
    - `pairs`: one for each sentence whose other side is sure, the most severe error first. Each
      has `prefix` (the answer before the sentence, as it is), `chosen` and `rejected` (the
      sentence and its other side; the answer's own is rejected if the answer is wrong), `sentence`
      (its number, from 0), `chosen_spans` and `rejected_spans` (the ranges of the two texts that
      differ) and `error_type` (that of the worst span).
    - `edited`: the corrected answer if all of it is sure, else `chosen` of the first pair; the
      answer itself if it is right; null on abstention.
    - `opposite`: the wrong variant of a right answer if all of it is coherent, else `rejected` of
      the first pair; null for other answers.
    - `spans`: the ranges of model_answer with the replacements that turn it into `edited` or
      `opposite`, or its sentence into that of the first pair.

    Without `pairs` although the verdict is known, `reason` says why none may be made.
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
    if edit.refusal and edit.verdict == "right":
        edit = Edit("right", refusal=edit.refusal)  # its variant is of no use to anybody
    first = edit.sentences[0] if edit.sentences and not edit.text else None
    text = first.text if first else edit.text
    old = first.answer_spans if first else edit.answer_spans
    new = first.text_spans if first else edit.text_spans
    start = first.start if first else 0
    spans = [
        {
            "start": start + before.start,
            "end": start + before.end,
            "replacement": text[after.start : after.end],
            "error_type": before.error_type,
            "severity": before.severity,
            "reason": before.reason,
        }
        for before, after in zip(old, new, strict=True)
    ]
    return {
        "verdict": edit.verdict,
        "edited": {"wrong": text or None, "right": answer}.get(edit.verdict),
        "spans": spans,
        "opposite": (text or None) if edit.verdict == "right" else None,
        "reason": edit.refusal or edit.reason,
        "pairs": [_pair(answer, edit.verdict, sentence) for sentence in edit.sentences],
    }


def _pair(answer: str, verdict: VerdictName, sentence: EditedSentence) -> dict[str, Any]:
    own = (answer[sentence.start : sentence.end], sentence.answer_spans)
    other = (sentence.text, sentence.text_spans)
    chosen, rejected = (other, own) if verdict == "wrong" else (own, other)
    worst = max(sentence.answer_spans, key=lambda span: span.severity)
    return {
        "prefix": answer[: sentence.start],
        "chosen": chosen[0],
        "rejected": rejected[0],
        "sentence": sentence.sentence,
        "chosen_spans": [[span.start, span.end] for span in chosen[1]],
        "rejected_spans": [[span.start, span.end] for span in rejected[1]],
        "error_type": worst.error_type,
    }


def _lines(path: Path) -> list[str]:
    try:
        with open_file(path) as file:
            return file.read().decode("utf-8-sig").split("\n")
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
    if isinstance(value, float) and not math.isfinite(value):
        why = f"is {value}: a missing value"
        raise DataError(f"{location}: {key}", why, "write a text, or leave the line out")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        why = "is missing" if key not in row else f"is {type(value).__name__}, not a text"
        raise DataError(f"{location}: {key}", why, f"every line needs {', '.join(_KEYS)}")
    return value
