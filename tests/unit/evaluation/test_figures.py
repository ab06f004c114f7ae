"""Errors, omissions, claims and calibration, counted by hand."""

from __future__ import annotations

import pytest

from medray.evaluation.metrics import compare, evaluate, score_answers, summarise
from medray.records import AnswerType, Case


def case(
    case_id: str,
    question: str,
    reference: str,
    kind: AnswerType = "open",
    image: str = "a",
    patient: str = "",
) -> Case:
    return Case(case_id, f"{image}.png", image, question, reference, kind, patient_id=patient)


DESCRIBE = case("1", "What is seen?", "There is a small left pleural effusion.", "open")


@pytest.mark.parametrize(
    ("answer", "precision", "recall", "omitted"),
    [
        ("There is a small left pleural effusion.", 1, 1, 0),
        ("Left pleural effusion.", 1, 2 / 3, 1 / 3),  # the size is left out
        ("Large left pleural effusion.", 2 / 3, 2 / 3, 0),  # another size is no omission
        ("Small right pleural effusion.", 2 / 3, 2 / 3, 0),
        ("Left pleural effusion and a fracture.", 2 / 3, 2 / 3, 1 / 3),
        ("No pleural effusion.", 0, 0, 2 / 3),  # side and size are not spoken of
        ("Hard to say.", None, 0, 1),
    ],
)
def test_claims_shared_with_the_reference(answer, precision, recall, omitted):
    # claims of the reference: an effusion, left, small
    result = evaluate([DESCRIBE], {"1": answer})
    assert result["claim_precision"] == (
        precision if precision is None else pytest.approx(precision)
    )
    assert result["claim_recall"] == pytest.approx(recall)
    assert result["omission_rate"] == pytest.approx(omitted)
    total = (precision or 0) + recall
    f1 = 2 * (precision or 0) * recall / total if total else 0
    assert result["claim_f1"] == pytest.approx(f1)


def test_a_general_denial_entails_a_particular_one():
    specific = case("1", "Describe.", "No pleural effusion.", "report")
    result = evaluate([specific], {"1": "The lungs are clear."})
    assert result["claim_recall"] == 1
    general = case("1", "Describe.", "The lungs are clear.", "report")
    result = evaluate([general], {"1": "No pleural effusion."})
    assert (result["claim_precision"], result["claim_recall"]) == (1, 0)
    assert result["omission_rate"] == 0


def test_a_yes_claims_what_is_asked():
    closed = case("1", "Is there a pleural effusion?", "Yes", "closed")
    assert evaluate([closed], {"1": "Yes"})["claim_recall"] == 1
    denied = evaluate([closed], {"1": "No"})
    assert (denied["claim_recall"], denied["omission_rate"]) == (0, 0)


def test_omissions_by_type():
    result = evaluate([DESCRIBE], {"1": "There is a pleural effusion."})
    assert result["omissions_by_error_type"] == {
        "presence": {"known": 1, "omitted": 0, "rate": 0.0},
        "side": {"known": 1, "omitted": 1, "rate": 1.0},
        "size": {"known": 1, "omitted": 1, "rate": 1.0},
    }


def test_sides_denials_and_severity():
    cases = [
        case("side", "Where is the nodule?", "in the left lung", image="1"),
        case("right", "Where is the nodule?", "in the left lung", image="2"),
        case("denied", "Is there a nodule?", "Yes", "closed", image="3"),
        case("affirmed", "Is there a nodule?", "No", "closed", image="4"),
        case("agrees", "Is there a nodule?", "Yes", "closed", image="5"),
    ]
    answers = {
        "side": "in the right lung",
        "right": "in the left lung",
        "denied": "No",
        "affirmed": "Yes",
        "agrees": "Yes",
    }
    result = evaluate(cases, answers)
    assert result["laterality_error_rate"] == 1 / 2
    assert result["negation_error_rate"] == 2 / 3
    # side and presence have severity 1: three errors in five answers
    assert result["severity_weighted_errors"] == pytest.approx(3 / 5)
    assert result["n_by"] == {"open": 2, "closed": 3}


def test_calibration_by_hand():
    cases = [case(str(i), "Is there a nodule?", "Yes", "closed", image=str(i)) for i in range(5)]
    answers = {"0": "Yes", "1": "Yes", "2": "No", "3": "yes, on the left", "4": "A nodule."}
    confidences = {"0": 0.95, "1": 0.95, "2": 0.95, "3": 0.65}
    result = evaluate(cases, answers, confidences=confidences)
    # bin 0.9–1: three answers, 2 right, sure of 2.85; bin 0.6–0.7: one right, sure of 0.65; the
    # fifth has no confidence
    assert result["calibration_error"] == pytest.approx((abs(2.85 - 2) + abs(0.65 - 1)) / 4)
    assert result["brier"] == pytest.approx((2 * 0.05**2 + 0.95**2 + 0.35**2) / 4)
    assert evaluate(cases, answers)["brier"] is None
    certain = evaluate(cases[:1], answers, confidences={"0": 1.0})
    assert (certain["calibration_error"], certain["brier"]) == (0, 0)


def test_every_figure_with_a_value_has_an_interval_that_holds_it():
    cases = [
        case(str(i), "Is there a nodule?", "Yes" if i % 3 else "No", "closed", image=str(i))
        for i in range(30)
    ]
    result = evaluate(cases, {str(i): "Yes" if i % 2 else "No" for i in range(30)})
    numbers = {k: v for k, v in result.items() if isinstance(v, float)}
    found = result["intervals"]
    assert numbers.keys() <= found.keys()
    for name, value in numbers.items():
        low, high = found[name]
        assert low <= value <= high
    assert "by_error_type.presence" in found
    assert result["clusters"] == 30


def test_patients_are_drawn_together_where_they_are_known():
    cases = [
        case(f"{i}", "Is there a nodule?", "Yes", "closed", image=str(i), patient=f"p{i // 2}")
        for i in range(8)
    ]
    cases.append(case("alone", "Is there a nodule?", "Yes", "closed", image="9"))
    assert evaluate(cases, {c.case_id: "Yes" for c in cases})["clusters"] == 5


def test_comparison_is_on_the_cases_that_both_answered():
    cases = [case(str(i), "Is there a nodule?", "Yes", "closed", image=str(i)) for i in range(12)]
    ours = score_answers(cases, {str(i): "Yes" for i in range(10)})
    theirs = score_answers(cases, {str(i): "Yes" if i % 2 else "No" for i in range(2, 12)})
    found = compare(ours, theirs)
    assert found["cases"] == 8
    accuracy = found["difference"]["closed_accuracy"]
    assert accuracy["value"] == 0.5
    assert accuracy["p"] == pytest.approx(2 / 2**4)  # four discordant images, all ours
    back = compare(theirs, ours)["difference"]["closed_accuracy"]
    assert (back["value"], back["p"]) == (-0.5, accuracy["p"])
    assert "finding_f1" not in found["difference"]


def test_figures_of_rows_are_those_of_evaluate():
    answers = {"1": "Left pleural effusion."}
    assert summarise(score_answers([DESCRIBE], answers)) == evaluate([DESCRIBE], answers)
