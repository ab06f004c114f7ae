"""The pairs of one sentence, by the kinds in which they used to fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medray.editing import FindingsEditor
from tests.support.datasets.graded_pairs import GRADED

# `expected`: the other sides of the answer's sentences, or why there is none
FILE = GRADED.with_name("pair_kinds.jsonl")
CASES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}: {case['answer']}")
def test_the_other_side_is_as_expected(case: dict[str, Any]) -> None:
    edit = FindingsEditor().edit(case["question"], case["reference"], case["answer"], seed=0)
    result = [sentence.text for sentence in edit.sentences] or edit.reason
    assert (edit.verdict, result) == (case["verdict"], case["expected"])


@pytest.mark.data
def test_the_cases_of_the_review_hold(shared_data: Path) -> None:
    """Each case's verdict, and the text if it is given; a right answer may have no variant."""
    lines = (shared_data / "editor_cases.jsonl").read_text(encoding="utf-8").splitlines()
    failed = []
    for case in map(json.loads, lines):
        answer = case["model_answer"]
        edit = FindingsEditor().edit(case["question"], case["gold"], answer, seed=0)
        verdict = "right" if edit.reason == "no-variant" else edit.verdict
        texts = {edit.text} | {
            answer[: s.start] + s.text + answer[s.end :] for s in edit.sentences[:1]
        }
        shown = edit.text or next((s.text for s in edit.sentences), "")
        wanted = case["expect_edited"]
        holds = verdict == case["expect_verdict"] and (wanted is None or wanted in texts)
        if not holds or any(words in shown for words in case["must_not_contain"]):
            failed.append((case["kind"], edit))
    assert failed == []
