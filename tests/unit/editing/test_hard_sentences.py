"""The hand-written hard sentences: all hold except the known gaps, which only get fewer."""

from __future__ import annotations

import pytest

from medray.editing import FindingsEditor
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from tests.support.datasets.hard_sentences import Sentence, failure, sentences

SENTENCES = sentences()
GAPS = 3  # lower it with every gap that is closed


def name(case: Sentence) -> str:
    return f"{case.group}: {case.reference[:30]} / {case.answer}"


@pytest.mark.parametrize("case", [c for c in SENTENCES if not c.known_gap], ids=name)
def test_it_is_judged_and_corrected_as_expected(case: Sentence) -> None:
    assert failure(case) == ""


@pytest.mark.parametrize("case", [c for c in SENTENCES if c.known_gap], ids=name)
def test_a_known_gap_is_still_open(case: Sentence) -> None:
    """A closed gap must lose its mark."""
    assert failure(case) != "", f"holds now: remove its known_gap ({case.known_gap})"


def test_there_are_enough_sentences_and_no_new_gaps() -> None:
    assert len(SENTENCES) >= 200
    assert len({(c.question, c.reference, c.answer) for c in SENTENCES}) == len(SENTENCES)
    assert sum(bool(c.known_gap) for c in SENTENCES) == GAPS


@pytest.mark.parametrize("case", [c for c in SENTENCES if c.verdict == "wrong"], ids=name)
def test_editing_twice_changes_nothing(case: Sentence) -> None:
    editor = FindingsEditor()
    edit = editor.edit(case.question, case.reference, case.answer, seed=0)
    if edit.verdict != "wrong":
        assert case.known_gap
        return
    again = editor.edit(case.question, case.reference, edit.text, seed=0)
    assert again.verdict == "right" or again.reason == "no-variant"


def test_a_wrong_variant_is_judged_wrong_and_most_are_corrected_to_the_answer() -> None:
    editor, variants, restored = FindingsEditor(), 0, 0
    for case in SENTENCES:
        for answer in (case.answer, *case.edited[:1]):
            for seed in range(3):
                edit = editor.edit(case.question, case.reference, answer, seed=seed)
                for variant in edit.sentences if edit.verdict == "right" else ():
                    text = answer[: variant.start] + variant.text
                    judgement = judge(text, facts(case.question, case.reference))
                    assert judgement.verdict == "wrong", (case, variant.text)
                    again = editor.edit(case.question, case.reference, text, seed=seed)
                    own = answer[variant.start : variant.end]
                    variants += 1
                    restored += own in [sentence.text for sentence in again.sentences]
    assert variants > 500
    assert restored / variants > 0.8
