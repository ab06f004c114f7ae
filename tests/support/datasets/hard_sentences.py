"""The hand-written sentences of hard_sentences.yaml, and the editor run on them.

``python -m tests.support.datasets.hard_sentences`` prints the cases that do not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medray.editing import FindingsEditor

FILE = Path(__file__).with_name("hard_sentences.yaml")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One case. `edited`: the texts accepted as corrected; `known_gap`: why it fails."""

    group: str
    question: str
    reference: str
    answer: str
    verdict: str
    edited: tuple[str, ...]
    reason: str
    known_gap: str


def sentences() -> list[Sentence]:
    """All cases, in file order."""
    groups: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    result = []
    for group in groups:
        for row in group["cases"]:
            case = {**group, **row}
            edited = case.get("edited", ())
            result.append(
                Sentence(
                    case["group"],
                    case["question"],
                    case["reference"],
                    case["answer"],
                    case["verdict"],
                    (edited,) if isinstance(edited, str) else tuple(edited),
                    case.get("reason", ""),
                    case.get("known_gap", ""),
                )
            )
    return result


def failure(case: Sentence) -> str:
    """What differs from the expected result of a case; "" if nothing does."""
    edit = FindingsEditor().edit(case.question, case.reference, case.answer, seed=0)
    if case.verdict == "right" and edit.reason == "no-variant":
        return ""  # judged right, and no wrong variant is known
    if edit.verdict != case.verdict:
        return f"{edit.verdict} ({edit.reason}) {edit.text!r}, not {case.verdict}"
    if case.verdict == "wrong" and edit.text not in case.edited:
        return f"gives {edit.text!r}"
    if case.verdict == "abstain" and case.reason not in ("", edit.reason):
        return f"abstains as {edit.reason}"
    return ""


if __name__ == "__main__":
    cases = sentences()
    failed = [(case, why) for case in cases if (why := failure(case))]
    for case, why in failed:
        print(f"[{case.group}] {case.reference!r} / {case.answer!r}: {why}")
    print(f"{len(cases)} sentences, {len(cases) - len(failed)} hold, {len(failed)} do not")
