"""What a reference does not speak of is not edited beside what it corrects."""

from __future__ import annotations

import pytest

from medray.editing import FindingsEditor

TUBE = "The chest tube is on the left side. There is a small residual pneumothorax on the left."
SENTENCES = [  # question, reference, answer, the chosen sentences
    ("Which side is the chest tube on?", "Right", TUBE, ["The chest tube is on the right side."]),
    (
        "Which side is the pneumothorax on?",
        "Left",
        "The right lung shows a pneumothorax. A right pleural effusion is also seen.",
        ["The left lung shows a pneumothorax."],
    ),
    (
        "Is the trachea midline?",
        "Yes",
        "The trachea is deviated to the right, which suggests a tension pneumothorax.",
        ["The trachea is midline."],
    ),
    (
        "Which side is the chest tube on?",
        "Right",
        "It is on the left side.",
        ["It is on the right side."],
    ),
]


@pytest.mark.parametrize(("question", "reference", "answer", "chosen"), SENTENCES)
def test_only_what_the_reference_speaks_of_is_corrected(question, reference, answer, chosen):
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    assert edit.verdict == "wrong"
    assert [sentence.text for sentence in edit.sentences] == chosen


@pytest.mark.parametrize(
    "answer",
    [
        "The chest radiograph shows cardiomegaly with pulmonary edema.",
        "There is cardiomegaly with a pleural effusion.",
    ],
)
def test_a_normal_study_has_no_large_heart_either(answer):
    """The sentence would keep one error where only the other is corrected."""
    edit = FindingsEditor().edit("Describe the image.", "Normal chest radiograph.", answer, seed=0)
    for sentence in edit.sentences:
        assert "cardiomegaly" not in sentence.text.lower() or "no " in sentence.text.lower()


def test_what_takes_up_a_denied_finding_is_not_kept_in_a_complete_answer():
    answer = (
        "Yes, there is evidence of pneumonia in the right lower lobe. "
        "The opacity is consistent with consolidation."
    )
    edit = FindingsEditor().edit("Is there evidence of pneumonia?", "No", answer, seed=0)
    assert (edit.verdict, edit.text) == ("wrong", "")
    assert [sentence.sentence for sentence in edit.sentences] == [0]
