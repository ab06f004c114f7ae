"""Pairs that an editor might make, and the reason for which the guard refuses each."""

from __future__ import annotations

import json

import pytest

from medray.editing.guard import REASONS, Proposal, guarded, refusal
from medray.editing.reading.facts import facts
from medray.records import Edit, EditedSentence, Span, VerdictName
from tests.support.datasets.graded_pairs import GRADED

Case = dict[str, str]
FILE = GRADED.with_name("guard_cases.jsonl")
CASES: list[Case] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
SURE = [case for case in CASES if not case["reason"]]


def difference(one: str, other: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """The ranges of both texts between their common beginning and their common end."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return (start, len(one) - end), (start, len(other) - end)


def edited(prefix: str, sentence: str, text: str, error_type: str) -> EditedSentence:
    old, new = difference(sentence, text)
    number, start = (1 if prefix else 0), len(prefix)
    spans = [(Span(*side, error_type, 1.0, "given"),) for side in (old, new)]
    return EditedSentence(number, start, start + len(sentence), text, *spans)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['reason'] or 'sure'}: {c['text']}")
def test_each_fault_is_refused_with_its_reason(case: Case) -> None:
    prefix, sentence = case["prefix"], case["sentence"]
    draft = edited(prefix, sentence, case["text"], case["error_type"])
    known = facts(case["question"], case["reference"])
    verdict: VerdictName = "wrong" if case["verdict"] == "wrong" else "right"
    assert refusal(Proposal(known, prefix, sentence, draft, verdict)) == case["reason"]


def test_every_reason_has_a_case() -> None:
    assert {case["reason"] for case in CASES} == {"", *REASONS}


@pytest.mark.parametrize("case", SURE, ids=lambda case: case["text"])
def test_an_edit_of_a_whole_answer_passes_sentence_by_sentence(case: Case) -> None:
    prefix, text = case["prefix"], case["text"]
    answer = prefix + case["sentence"]
    old, new = difference(answer, prefix + text)
    spans = [(Span(*side, case["error_type"], 1.0, "given"),) for side in (old, new)]
    verdict: VerdictName = "wrong" if case["verdict"] == "wrong" else "right"
    edit = Edit(verdict, prefix + text, *spans)
    result = guarded(case["question"], case["reference"], answer, edit)
    assert [(s.start, s.end, s.text) for s in result.sentences] == [
        (len(prefix), len(answer), text)
    ]
    assert result.verdict == verdict
    assert result.text == ("" if prefix else text)


def test_an_edit_without_a_sure_sentence_becomes_an_abstention() -> None:
    answer, text = "There is a large mass.", "There is a large free air."
    old, new = difference(answer, text)
    spans = [(Span(*side, "kind", 0.9, "given"),) for side in (old, new)]
    result = guarded("What is shown?", "free air", answer, Edit("wrong", text, *spans))
    assert result == Edit("abstain", reason="grammar")


def test_a_sentence_that_was_given_is_not_a_pair() -> None:
    answer, text = "There is a cyst.", "There is a nodule."
    old, new = difference(answer, text)
    spans = [(Span(*side, "kind", 0.9, "given"),) for side in (old, new)]
    edit = Edit("wrong", text, *spans)
    assert guarded("What is shown?", "nodule", answer, edit).sentences
    assert guarded("What is shown?", "nodule", answer, edit, start=1).verdict == "abstain"
