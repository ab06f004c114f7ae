"""Errors counted by MedHEval's classes of what must be seen."""

from __future__ import annotations

import pytest

from medray.records import Case, Pair, PairScore, Span
from medray.targeting import ErrorTargets, Tally, case_types, classify_errors
from medray.targeting.grouping import CLASS_OF, TYPES_OF, by_type
from medray.targeting.visual_classes import CLASSES

QUESTIONS = {
    "Is the heart visible?": "anatomical",
    "Is there a pneumothorax?": "symptom",
    "Where is the nodule?": "measurement",
    "What modality was used?": "technique",
}


def case(question: str, reference: str, answer_type: str = "closed") -> Case:
    return Case("c", "c.png", "00", question, reference, answer_type)


def pair(chosen: str, rejected: str, *, correct: bool, error_type: str = "") -> Pair:
    spans = (Span(0, len(rejected), error_type, 1.0, ""),) if error_type else ()
    return Pair(
        pair_id="p",
        item_id="p",
        case_id="c",
        policy_version=0,
        chosen=chosen,
        rejected=rejected,
        chosen_spans=(),
        rejected_spans=spans,
        response_was_correct=correct,
        relevance=1.0,
        editor="findings",
    )


def score() -> PairScore:
    return PairScore("p", *(0.0,) * (len(PairScore.__dataclass_fields__) - 1))


def test_every_class_has_its_types_and_no_type_two_classes():
    assert set(TYPES_OF) == set(CLASSES)
    assert len(CLASS_OF) == sum(map(len, TYPES_OF.values()))


@pytest.mark.parametrize(("question", "name"), QUESTIONS.items())
def test_a_question_counts_in_its_own_class(question, name):
    given = case(question, "Yes")
    assert case_types(given, "visual_class") == {name}
    wrong = classify_errors(
        given,
        pair("Yes", "No", correct=False, error_type="presence"),
        score(),
        0.25,
        "visual_class",
    )
    assert (wrong.wrong, wrong.right) == ((name,), ())
    right = classify_errors(given, pair("Yes", "No", correct=True), score(), 0.25, "visual_class")
    assert (right.wrong, right.right) == ((), (name,))


def test_a_report_counts_in_the_classes_of_its_errors():
    report = case(
        "Describe the chest radiograph.",
        "There is a small nodule in the left upper zone. The heart is normal in size.",
        "report",
    )
    assert case_types(report, "visual_class") == {CLASS_OF[kind] for kind in case_types(report)}
    rejected = "There is a small nodule in the right upper zone. The heart is normal in size."
    found = classify_errors(
        report,
        pair(report.reference, rejected, correct=False, error_type="side"),
        score(),
        0.25,
        "visual_class",
    )
    assert found.wrong == ("measurement",)
    assert "symptom" in found.right


def test_the_weight_of_a_class_is_that_of_its_types():
    observed = classify_errors(
        case("Where is the nodule?", "Left"),
        pair("Left", "Right", correct=False, error_type="side"),
        score(),
        0.25,
        "visual_class",
    )
    right = classify_errors(
        case("Is there a nodule?", "Yes"),
        pair("Yes", "No", correct=True),
        score(),
        0.25,
        "visual_class",
    )
    targets = Tally().after([observed, right], 1.0).targets(0.8, "visual_class")
    assert targets.by == "visual_class"
    assert targets.weights["measurement"] > 1 > targets.weights["symptom"]
    assert {targets.weights[kind] for kind in TYPES_OF["measurement"]} == {
        targets.weights["measurement"]
    }
    assert by_type({"side": 2.0}, "error_type") == {"side": 2.0}
    assert ErrorTargets().by == "error_type"
