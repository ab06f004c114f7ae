"""The hand-written hard sentences: all hold but the known gaps, and those only shrink."""

from __future__ import annotations

import pytest

from medray.editing import FindingsEditor
from tests.support.datasets.hard_sentences import Sentence, failure, sentences

SENTENCES = sentences()
GAPS = 3  # lower it with every gap that is mended


def name(case: Sentence) -> str:
    return f"{case.group}: {case.reference[:30]} / {case.answer}"


@pytest.mark.parametrize("case", [c for c in SENTENCES if not c.known_gap], ids=name)
def test_it_is_read_and_mended_as_expected(case: Sentence) -> None:
    assert failure(case) == ""


@pytest.mark.parametrize("case", [c for c in SENTENCES if c.known_gap], ids=name)
def test_a_known_gap_is_still_one(case: Sentence) -> None:
    """A gap that has closed is to lose its mark."""
    assert failure(case) != "", f"holds now: remove its known_gap ({case.known_gap})"


def test_there_are_enough_sentences_and_no_more_gaps() -> None:
    assert len(SENTENCES) >= 200
    assert len({(c.question, c.reference, c.answer) for c in SENTENCES}) == len(SENTENCES)
    assert sum(bool(c.known_gap) for c in SENTENCES) == GAPS


@pytest.mark.parametrize("case", [c for c in SENTENCES if c.verdict == "wrong"], ids=name)
def test_editing_twice_changes_nothing(case: Sentence) -> None:
    editor = FindingsEditor()
    made = editor.edit(case.question, case.reference, case.answer, seed=0)
    if made.verdict != "wrong":
        assert case.known_gap
        return
    again = editor.edit(case.question, case.reference, made.text, seed=0)
    assert again.verdict == "right" or again.reason == "no-variant"


def test_a_wrong_variant_is_found_wrong_and_most_give_the_answer_back() -> None:
    editor, made, back = FindingsEditor(), 0, 0
    for case in SENTENCES:
        for answer in (case.answer, *case.edited[:1]):
            for seed in range(3):
                variant = editor.edit(case.question, case.reference, answer, seed=seed)
                if variant.verdict != "right":
                    continue
                again = editor.edit(case.question, case.reference, variant.text, seed=seed)
                assert again.verdict == "wrong", (case, variant.text)
                made += 1
                back += again.text == answer
    assert made > 500
    assert back / made > 0.8
