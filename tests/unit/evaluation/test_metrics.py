"""Metrics compared with values worked out by hand."""

from __future__ import annotations

import pytest

from medray.evaluation.metrics import compare_table, evaluate
from medray.records import AnswerType, Case

NODULE = (
    ("kind", "nodule"),
    ("side", "left"),
    ("zone", "upper"),
    ("size", "small"),
    ("heart", "normal"),
)
EFFUSION = (("kind", "effusion"), ("side", "right"), ("size", "large"), ("heart", "enlarged"))
CLEAR = (("kind", "none"), ("heart", "enlarged"))


def case(
    case_id: str,
    question: str,
    reference: str,
    kind: AnswerType,
    truth: tuple[tuple[str, str], ...] = (),
    image: str = "a",
) -> Case:
    return Case(case_id, f"{image}.png", image, question, reference, kind, truth=truth)


def report(answer: str, truth: tuple[tuple[str, str], ...]) -> dict[str, object]:
    return evaluate([case("r", "Describe.", "…", "report", truth)], {"r": answer})


def test_a_right_report_in_any_words_is_exact() -> None:
    for answer, truth in (
        ("There is a small nodule in the left upper zone. The heart size is normal.", NODULE),
        ("Normal heart size. Small nodule in the upper zone of the left lung.", NODULE),
        ("A large pleural effusion is present on the right. There is cardiomegaly.", EFFUSION),
        ("Both lungs are clear. The cardiac silhouette is enlarged.", CLEAR),
    ):
        result = report(answer, truth)
        assert result["report_exact"] == 1.0
        assert result["hallucination_rate"] == 0.0
        assert result["finding_f1"] == 1.0


@pytest.mark.parametrize(
    ("answer", "truth", "wrong", "asserted"),
    [
        # side wrong; kind, zone, size, heart right
        ("Small right upper zone nodule. Normal heart size.", NODULE, 1, 5),
        # heart missing: an omission, so nothing is contradicted
        ("Small left upper zone nodule.", NODULE, 0, 4),
        # invented: kind, size, side, zone; the heart is right
        ("Small left upper zone nodule. Enlarged heart.", CLEAR, 4, 5),
        # denied although present; the heart is right
        ("The lungs are clear. Normal heart size.", NODULE, 1, 2),
        # an effusion has no zone: the zone is invented
        ("Large effusion in the right lower zone. Enlarged heart.", EFFUSION, 1, 5),
        # asserted twice counts once; the second size is wrong
        (
            "Small left upper zone nodule. Large left upper zone nodule. Normal heart size.",
            NODULE,
            1,
            6,
        ),
    ],
)
def test_reports_that_are_not_exact(
    answer: str, truth: tuple[tuple[str, str], ...], wrong: int, asserted: int
) -> None:
    result = report(answer, truth)
    assert result["report_exact"] == 0.0
    assert result["hallucination_rate"] == wrong / asserted
    table = result["by_error_type"]
    assert isinstance(table, dict)
    assert sum(row["contradicted"] for row in table.values()) == wrong
    assert sum(row["asserted"] for row in table.values()) == asserted


def test_error_types_distinguish_an_invented_lesion_from_a_misnamed_one() -> None:
    invented = report("Small left upper zone nodule.", CLEAR)["by_error_type"]
    misnamed = report("Small left upper zone cavity.", NODULE)["by_error_type"]
    assert isinstance(invented, dict)
    assert isinstance(misnamed, dict)
    assert invented["presence"] == {"asserted": 1, "contradicted": 1, "rate": 1.0}
    assert misnamed["kind"] == {"asserted": 1, "contradicted": 1, "rate": 1.0}
    assert misnamed["side"] == {"asserted": 1, "contradicted": 0, "rate": 0.0}


def test_findings_are_counted_over_all_reports() -> None:
    cases = [
        case("1", "Describe.", "…", "report", NODULE),  # asserted: nodule
        case("2", "Describe.", "…", "report", EFFUSION),  # asserted: nodule; two are true
        case("3", "Describe.", "…", "report", CLEAR),  # asserted: cardiomegaly
    ]
    answers = {
        "1": "Small left nodule. Normal heart size.",
        "2": "Small left nodule. Normal heart size.",
        "3": "The lungs are clear. There is cardiomegaly.",
    }
    # hits: nodule, cardiomegaly = 2; asserted 3; true 1 + 2 + 1 = 4
    assert evaluate(cases, answers)["finding_f1"] == 2 * 2 / (3 + 4)


def test_closed_answers_count_by_their_first_yes_or_no() -> None:
    cases = [case(str(i), "Is there a nodule?", "No", "closed", image=str(i)) for i in range(4)]
    answers = {"0": "No", "1": "no, there is none", "2": "Yes, no doubt", "3": "A nodule."}
    result = evaluate(cases, answers)
    assert result["closed_accuracy"] == 0.5
    assert (result["n"], result["answers"]) == (4, 4)


def test_a_closed_answer_asserts_what_it_says_yes_to() -> None:
    cases = [
        case("1", "Is the lesion on the left side?", "Yes", "closed", NODULE),
        case("2", "Is the lesion on the left side?", "Yes", "closed", NODULE),
        case("3", "Is there a nodule?", "No", "closed", CLEAR),
    ]
    result = evaluate(cases, {"1": "Yes", "2": "No", "3": "Yes"})
    # 1: a lesion, left; 2: a lesion, right (wrong); 3: a nodule (wrong)
    assert result["by_error_type"] == {
        "presence": {"asserted": 3, "contradicted": 1, "rate": 1 / 3},
        "side": {"asserted": 2, "contradicted": 1, "rate": 0.5},
    }
    assert result["hallucination_rate"] == 2 / 5
    assert result["closed_accuracy"] == 1 / 3


def test_choices_count_by_letter_or_text() -> None:
    question = "Which plane?\nA. Axial\nB. Coronal\nC. Sagittal"
    answers = {
        "0": "B",
        "1": "(b) coronal",
        "2": "The answer is B.",
        "3": "It is a coronal view.",
        "4": "C",
        "5": "Axial",
        "6": "B. Sagittal",
        "7": "Hard to say.",
        "8": "",
        "9": "<think>A or C?</think> **Answer:** B",
    }
    cases = [case(key, question, "B. Coronal", "choice") for key in answers]
    result = evaluate(cases, answers)
    assert result["choice_accuracy"] == 5 / 10
    assert (result["closed_accuracy"], result["open_recall"]) == (None, None)


def test_thoughts_do_not_count() -> None:
    answers = {"1": "<think>No nodule? Yes.</think>No", "2": "**Yes**", "3": "<think>No"}
    cases = [case(key, "Is there a nodule?", "No", "closed") for key in answers]
    assert evaluate(cases, answers)["closed_accuracy"] == 1 / 3


def test_other_languages_assert_nothing() -> None:
    cases = [case("1", "Describe.", "Kein Pneumothorax.", "report")]
    result = evaluate(cases, {"1": "Pneumothorax rechts."})
    assert (result["hallucination_rate"], result["by_error_type"]) == (None, {})


def test_open_answers_count_by_word_recall() -> None:
    cases = [case("1", "where?", "right upper lobe", "open"), case("2", "where?", "left", "open")]
    result = evaluate(cases, {"1": "Right lobe.", "2": "the LEFT side"})
    assert result["open_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert (result["n"], result["closed_accuracy"], result["report_exact"]) == (1, None, None)


def test_for_a_real_case_only_contradictions_of_the_reference_count() -> None:
    result = evaluate(
        [case("1", "what is seen?", "right pleural effusion", "open")],
        {"1": "left pleural effusion and a fracture"},
    )
    # effusion agrees, side is contradicted, the fracture is unknown
    assert result["hallucination_rate"] == 1 / 3


def test_no_answers_give_no_rates() -> None:
    result = evaluate([case("1", "q", "a", "open")], {})
    assert (result["n"], result["answers"], result["by_error_type"]) == (0, 0, {})
    assert result["hallucination_rate"] is None
    assert result["finding_f1"] is None


def test_garbage_is_evaluated_too() -> None:
    result = report("\x00🫁 ,,, no no. yes", NODULE)
    assert result["report_exact"] == 0.0


def test_the_table_has_a_row_for_every_rate_and_error_type() -> None:
    before = report("Small right upper zone nodule.", NODULE)
    after = report("Small left upper zone nodule. Normal heart size.", NODULE)
    rows = {name: (a, b) for name, a, b in compare_table(before, after)}
    assert rows["report_exact"] == (0.0, 1.0)
    assert rows["hallucination_rate"] == (0.25, 0.0)
    assert rows["closed_accuracy"] == (None, None)
    assert rows["wrong side"] == (1.0, 0.0)
    assert rows["wrong attribute"] == (None, 0.0)
