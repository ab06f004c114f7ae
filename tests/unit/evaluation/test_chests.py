"""Answers in paragraphs about phantoms, scored as by hand."""

from __future__ import annotations

import pytest

from medray.evaluation.metrics import evaluate
from medray.phantom.styles import PARAGRAPHS
from medray.records import AnswerType, Case

TRUTH = {
    "kind": "nodule",
    "side": "left",
    "zone": "upper",
    "size": "small",
    "density": "dense",
    "heart": "enlarged",
    "device": "line",
    "device_side": "right",
    "bones": "intact",
}


def case(question: str, answer_type: AnswerType, reference: str = "Yes.") -> Case:
    return Case(answer_type, "i.png", "00", question, reference, answer_type, (), (*TRUTH.items(),))


REPORT = case("Write the report.", "report")


def test_attributes_are_counted_once_each_and_belong_to_their_subject():
    answer = (
        "There is a small dense nodule in the right upper zone. The heart is normal in size. "
        "A right central line is in place. The right nodule should be followed up with CT. "
        "Impression: right upper zone nodule."
    )
    result = evaluate([REPORT], {"report": answer})
    # kind, side, zone, size, density; heart; device and its side. Wrong: side and heart.
    assert result["hallucination_rate"] == pytest.approx(2 / 8)
    assert result["by_error_type"]["side"] == {"asserted": 2, "contradicted": 1, "rate": 0.5}
    assert result["report_exact"] == 0
    assert result["finding_f1"] == pytest.approx(2 / 3)
    assert result["unread"] == 0


def test_a_report_may_leave_out_device_and_bones():
    answer = "Small dense nodule in the upper zone of the left lung. There is cardiomegaly."
    result = evaluate([REPORT], {"report": answer})
    assert result["report_exact"] == 1
    assert result["hallucination_rate"] == 0
    assert evaluate([REPORT], {"report": "There is cardiomegaly."})["report_exact"] == 0


def test_a_yes_or_no_counts_by_its_question():
    closed = case("Is the lesion on the right side?", "closed", "No.")
    right = evaluate([closed], {"closed": "No, the lesion is on the left side."})
    assert right["closed_accuracy"] == 1
    assert right["hallucination_rate"] == 0
    wrong = evaluate([closed], {"closed": "Yes. There is no pneumothorax."})
    assert wrong["hallucination_rate"] == pytest.approx(1 / 2)


def test_sentences_out_of_the_grammar_assert_nothing_and_are_counted():
    result = evaluate(
        [REPORT], {"report": "A left clavicle nodule is seen. The heart is enlarged."}
    )
    assert result["unread"] == 0.5
    assert result["hallucination_rate"] == 0


def test_references_are_exact_and_contradict_nothing():
    cases, answers = [], {}
    for index in range(100):
        phantom = PARAGRAPHS.study(5, "heldout", index)
        truth = tuple(phantom.truth.attributes().items())
        for exchange in phantom.exchanges:
            name = f"{index}-{exchange.answer_type}"
            answers[name] = exchange.answer
            question, answer_type = exchange.question, exchange.answer_type
            cases.append(
                Case(name, "i.png", str(index), question, exchange.answer, answer_type, (), truth)
            )
    result = evaluate(cases, answers)
    assert result["hallucination_rate"] == 0
    assert result["unread"] == 0
    assert result["report_exact"] == result["closed_accuracy"] == result["finding_f1"] == 1
