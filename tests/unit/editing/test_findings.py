"""The findings editor on the phantoms' vocabulary and on short clinical answers."""

from __future__ import annotations

import pytest

from medray.config import EditorConfig
from medray.editing import EDITORS, FindingsEditor, edit_fraction
from medray.editing.guard import REASONS
from medray.records import Edit, Span
from tests.support.paths import ROOT

REPORT = "Describe the chest radiograph."
LESION = "There is a small nodule in the left upper zone. The heart size is normal."
EFFUSION = "Large right-sided pleural effusion. Enlarged heart."
CONSOLIDATION = "There is a right lower lobe consolidation. No acute bony abnormality."
CLEAR = "The lungs are clear. There is cardiomegaly."


def edit(question: str, reference: str, answer: str, seed: int = 0) -> Edit:
    return FindingsEditor().edit(question, reference, answer, seed=seed)


@pytest.mark.parametrize(
    ("reference", "answer", "corrected"),
    [
        (
            LESION,
            "There is a large nodule in the right upper zone. Enlarged heart.",
            "There is a small nodule in the left upper zone. Normal heart size.",
        ),
        (
            LESION,
            "There is cardiomegaly. Small left upper zone opacity.",
            "There is no cardiomegaly. Small left upper zone nodule.",
        ),
        (
            LESION,
            "A small opacity is seen in the lower zone of the left lung. Normal heart size.",
            "A small nodule is seen in the upper zone of the left lung. Normal heart size.",
        ),
        (
            LESION,
            "There is an opacity in the left upper zone. The heart is enlarged.",
            "There is a nodule in the left upper zone. The heart is normal in size.",
        ),
        (
            LESION,
            "Both lungs are clear. Heart size is within normal limits.",
            "There is a small nodule in the left upper zone. Heart size is within normal limits.",
        ),
        (
            LESION,
            "Small left pleural effusion. Normal heart size.",
            "Small left upper zone nodule. Normal heart size.",
        ),
        (
            EFFUSION,
            "There is a large nodule in the right upper zone. The heart is enlarged.",
            "There is a large pleural effusion on the right side. The heart is enlarged.",
        ),
        (
            EFFUSION,
            "A large opacity is seen in the lower zone of the left lung. Enlarged heart.",
            "A large pleural effusion is seen on the right side. Enlarged heart.",
        ),
        (
            EFFUSION,
            "Large right middle zone cavity. The cardiac silhouette is enlarged.",
            "Large right pleural effusion. The cardiac silhouette is enlarged.",
        ),
        (
            EFFUSION,
            "The right upper zone shows a small opacity. There is cardiomegaly.",
            "The right side shows a large pleural effusion. There is cardiomegaly.",
        ),
        (
            CLEAR,
            "There is a small nodule in the left upper zone. The heart is enlarged.",
            "The lungs are clear. The heart is enlarged.",
        ),
        (CLEAR, "Normal heart size. Small right effusion", "Enlarged heart. The lungs are clear"),
        (
            CLEAR,
            "The heart is enlarged with a small effusion.",
            "The heart is enlarged with no effusion.",
        ),
        (
            EFFUSION,
            "The lungs are clear and the heart is enlarged.",
            "Large right-sided pleural effusion and the heart is enlarged.",
        ),
        (
            EFFUSION,
            "No pneumothorax, pleural effusion or nodule is seen.",
            "A large right-sided pleural effusion is seen.",
        ),
        (
            LESION,
            "small right nodule. small left cavity. normal heart size.",
            "small left nodule. small left cavity. normal heart size.",
        ),
    ],
)
def test_wrong_reports_are_corrected_in_their_own_words(
    reference: str, answer: str, corrected: str
) -> None:
    result = edit(REPORT, reference, answer)
    assert (result.verdict, result.text) == ("wrong", corrected)


@pytest.mark.parametrize(
    ("question", "reference", "answer", "corrected"),
    [
        ("Is there a nodule?", "No", "Yes", "No"),
        ("Is there a nodule?", "Yes", "no.", "yes."),
        ("Is there a nodule?", "No", "Yes, there is a nodule.", "No, there is no nodule."),
        ("Is there an opacity?", "Yes", "No, there is no opacity.", "Yes, there is an opacity."),
        (
            "Is there a nodule?",
            "No, there is an opacity.",
            "Yes, there is a nodule.",
            "No, there is an opacity.",
        ),
        (
            "Is the lesion on the left side?",
            "No",
            "Yes, the lesion is on the left side.",
            "No, the lesion is not on the left side.",  # nor need it be on the right
        ),
        (
            "Is the lesion in the upper zone?",
            "No",
            "Yes, the lesion is in the upper zone.",
            "No, the lesion is not in the upper zone.",
        ),
        (
            "Is the lesion in the upper zone?",
            "Yes",
            "No, the lesion is in the lower zone.",
            "Yes, the lesion is in the upper zone.",
        ),
        (
            "Is the heart enlarged?",
            "Yes",
            "No, the heart is normal in size.",
            "Yes, the heart is enlarged.",
        ),
        (
            "Is the heart size normal?",
            "No",
            "Yes, the heart is normal in size.",
            "No, the heart is enlarged.",
        ),
        (
            "Is any lesion seen?",
            "Yes",
            "No, no focal lesion is seen.",
            "Yes, a focal lesion is seen.",
        ),
        (
            "Is the trachea midline?",
            "no",
            "Yes, the trachea is midline.",
            "No, the trachea is not midline.",
        ),
        (
            "is this an axial image?",
            "no",
            "Yes, this is an axial image.",
            "No, this is not an axial image.",
        ),
    ],
)
def test_closed_answers_change_with_what_depends_on_them(
    question: str, reference: str, answer: str, corrected: str
) -> None:
    result = edit(question, reference, answer)
    assert (result.verdict, result.text) == ("wrong", corrected)


@pytest.mark.parametrize(
    ("question", "reference", "answer", "corrected"),
    [
        (
            "Which side is the lesion on?",
            "Left",
            "The lesion is on the right side.",
            "The lesion is on the left side.",
        ),
        (
            "Which zone is the lesion in?",
            "The lesion is in the upper zone.",
            "Lower zone",
            "Upper zone",
        ),
        ("How large is the lesion?", "Small", "Large", "Small"),
        ("What is the size of the heart?", "Normal", "Enlarged", "Normal"),
        (
            "What is the abnormality?",
            "There is an opacity.",
            "There is a nodule.",
            "There is an opacity.",
        ),
        ("What is the abnormality?", "Nodule", "Pleural effusion", "Nodule"),
        ("what modality is used?", "ct", "MRI", "CT"),
        ("what plane is this?", "axial plane", "Coronal.", "Axial."),
        ("where is the mass?", "head of the pancreas", "left kidney", "head of the pancreas"),
        ("size of the mass?", "3.4 cm", "5 cm", "3.4 cm"),
    ],
)
def test_answers_of_a_single_value(
    question: str, reference: str, answer: str, corrected: str
) -> None:
    result = edit(question, reference, answer)
    assert (result.verdict, result.text) == ("wrong", corrected)


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        (REPORT, LESION, "Normal heart size. A nodule is seen."),  # an omission is no error
        (REPORT, LESION, "Small left upper zone nodule. Heart size is within normal limits."),
        (REPORT, CLEAR, "Enlarged heart. No focal lesion is seen."),
        (REPORT, CONSOLIDATION, CONSOLIDATION),
        (REPORT, CONSOLIDATION, "Right lower lobe consolidation. No bony abnormality."),
        ("Is there a nodule?", "No", "No, no focal lesion is seen."),
        ("what is the abnormality?", "infarct", "Infarction"),
        ("what organ is seen?", "intestines", "the bowel"),
        ("what is shown?", "right kidney cyst", "A cyst."),
        ("how many lesions are in the spleen?", "one", "1"),
    ],
)
def test_right_answers_get_a_wrong_variant(question: str, reference: str, answer: str) -> None:
    result = edit(question, reference, answer)
    assert result.verdict == "right"
    assert result.text != answer
    assert edit(question, reference, result.text).verdict == "wrong"


def test_every_kind_of_wrong_variant_occurs() -> None:
    edits = (edit(REPORT, LESION, LESION, n) for n in range(60))
    kinds = {span.error_type for e in edits for s in e.sentences for span in s.answer_spans}
    assert kinds >= {"side", "zone", "size", "kind", "attribute"}


def test_a_clear_study_gets_an_invented_lesion_that_is_corrected_again() -> None:
    answer = "The lungs are clear."
    variants = {edit("Describe.", "The lungs are clear.", answer, n).text for n in range(20)}
    assert len(variants) > 5
    for text in variants:
        assert edit("Describe.", "The lungs are clear.", text).text == answer


@pytest.mark.parametrize(
    ("question", "reference", "answer", "reason"),
    [
        (REPORT, LESION, "", "empty-answer"),
        (REPORT, LESION, " \n.?!", "empty-answer"),
        (REPORT, LESION, "The 🫁 sings.", "not-comparable"),
        ("where is the mass?", "anterior mediastinum", "yes", "not-comparable"),
        ("what is this?", "", "nodule", "not-comparable"),
        ("what is pictured?", "a helicopter", "Helicopter.", "no-variant"),
        ("Is it or not?", "no", "Yes, thus and so in all these pictures here", "cannot-rewrite"),
        ("Is there a nodule?", "No", "No, there is an opacity.", "no-variant"),  # is there one?
    ],
)
def test_it_abstains_with_a_reason(question: str, reference: str, answer: str, reason: str) -> None:
    assert edit(question, reference, answer) == Edit("abstain", reason=reason)


def test_spans_carry_type_severity_and_reason() -> None:
    result = edit(REPORT, LESION, "Small right upper zone nodule. The heart size is normal.")
    assert result.answer_spans == (Span(6, 11, "side", 1.0, "side: left, not right"),)
    assert result.text_spans == (Span(6, 10, "side", 1.0, "side: left, not right"),)


def test_the_registry_builds_the_configured_editor() -> None:
    editor = EDITORS["findings"](EditorConfig())
    assert (editor.name, editor.version) == ("findings", "10")


def test_edit_fraction_counts_words() -> None:
    def span(start: int, end: int) -> Span:
        return Span(start, end, "side", 1.0, "")

    text = "Small left-sided nodule seen."
    assert edit_fraction(text, []) == 0.0
    assert edit_fraction(text, [span(6, 10)]) == 0.25
    assert edit_fraction(text, [span(3, 18)]) == 0.75
    assert edit_fraction(text, [span(5, 5)]) == 0.0
    assert edit_fraction(text, [span(8, 8)]) == 0.25
    assert edit_fraction("", [span(0, 0)]) == 0.0


def test_every_reason_of_the_guard_is_documented() -> None:
    page = (ROOT / "docs/editing.md").read_text(encoding="utf-8")
    assert [f"| `{reason}` |" for reason in REASONS if f"| `{reason}` |" not in page] == []


def test_the_weaker_rule_is_marked_and_can_be_left_out():
    given = ("Which plane is this?", "Axial", "a brain")
    edit = FindingsEditor().edit(*given, seed=0)
    assert (edit.verdict, edit.text.lower()) == ("wrong", "axial")
    assert edit.reason.startswith("same slot, other value")
    without = EDITORS["findings"](EditorConfig(same_slot=False)).edit(*given, seed=0)
    assert (without.verdict, without.reason) == ("abstain", "not-comparable")
