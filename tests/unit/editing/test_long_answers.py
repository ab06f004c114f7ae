"""Answers without an end are not read: no editor and no figure takes minutes for one."""

from __future__ import annotations

import pytest

from medray.data.readability import tier_of
from medray.editing import FindingsEditor
from medray.editing.language.english import LONGEST_SENTENCE, endless, is_english
from medray.editing.sentences import MOST
from medray.evaluation.metrics import evaluate
from medray.records import Case

QUESTION, REFERENCE = "Is there a nodule?", "There is a nodule in the left lung."
WRONG, RIGHT = "There is a nodule in the right lung. ", "There is a nodule in the left lung. "
REPEATED = {
    "sentences": WRONG,
    "right sentences": RIGHT,
    "one sentence": "the right lung and ",
    "one word": "a",
    "blanks": " ",
    "lines": "\n",
    "full stops": ".",
    "thoughts": "<think>",
    "boxes": "\\boxed{",
    "asterisks": "*",
    "turns": "Assistant: ",
    "headings": "### Answer\n",
    "quotes": '{"answer": "',
    "bullets": "- ",
    "accents": "é",
    "numbers": "1",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", REPEATED)
def test_a_megabyte_is_abstained_from(name):
    answer = "Yes " + REPEATED[name] * (1_000_000 // len(REPEATED[name]))
    edit = FindingsEditor().edit(QUESTION, REFERENCE, answer, seed=0)
    assert (edit.verdict, edit.reason) == ("abstain", "too-long")
    assert edit.sentences == ()
    assert not is_english(answer)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", REPEATED)
def test_what_is_just_not_too_long_is_read(name):
    """Numbers took minutes."""
    sentence = ("Yes " + REPEATED[name] * LONGEST_SENTENCE)[: LONGEST_SENTENCE - 2]
    answer = f"{sentence}. {sentence}."
    assert not endless(answer)
    edit = FindingsEditor().edit(QUESTION, REFERENCE, answer, seed=0)
    assert edit.reason != "too-long"


@pytest.mark.parametrize("unit", [" the right lung and", " no", " nodule,", "left-", "1"])
def test_a_sentence_without_an_end_is_abstained_from(unit):
    edit = FindingsEditor().edit(QUESTION, REFERENCE, "Yes." + unit * 1001, seed=0)
    assert (edit.verdict, edit.reason) == ("abstain", "too-long")
    case = Case("a", "a.png", "", QUESTION, REFERENCE, "report")
    found = evaluate([case], {"a": "Yes." + unit * 1001})
    assert "in 1 answers with a sentence without an end no claim is read" in found["notes"]
    assert found["claim_precision"] is None
    assert found["bleu_1"] is not None


def test_the_first_sentences_of_many_are_edited():
    edits = [
        FindingsEditor().edit(QUESTION, REFERENCE, sentence * 2 * MOST, seed=0).sentences
        for sentence in (WRONG, RIGHT)
    ]
    for sentences in edits:
        assert 1 <= len(sentences) <= MOST
        assert all(sentence.sentence < MOST for sentence in sentences)


@pytest.mark.parametrize("field", ["question", "reference"])
def test_a_case_whose_text_is_too_long_is_not_read(field):
    texts = {"question": QUESTION, "reference": REFERENCE, field: WRONG * 30_000}
    case = Case("a", "a.png", "", answer_type="report", **texts)
    assert tier_of(case) == "too-long"
    edit = FindingsEditor().edit(case.question, case.reference, "Yes", seed=0)
    assert (edit.verdict, edit.reason) == ("abstain", "too-long")


@pytest.mark.timeout(300)
def test_an_evaluation_counts_a_long_answer_as_empty():
    case = Case("a", "a.png", "", QUESTION, REFERENCE, "open")
    empty, long = (evaluate([case], {"a": text}) for text in ("", WRONG * 30_000))
    notes = long.pop("notes")
    assert "1 answers of more than 20,000 characters count as empty" in notes
    assert long == {key: value for key, value in empty.items() if key != "notes"}
    other = Case("b", "a.png", "", QUESTION, REFERENCE * 10_000, "report")
    assert evaluate([other], {"b": REFERENCE})["bleu_1"] is None
