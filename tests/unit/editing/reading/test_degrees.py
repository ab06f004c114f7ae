"""More on one side, more than before, a larger heart, and other words that are no attribute."""

from __future__ import annotations

import pytest

from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from tests.support.datasets.graded_pairs import made

REPORT = "Describe the findings."


def chosen(question: str, reference: str, answer: str) -> list[str]:
    return [str(p["chosen"]) for p in made([(question, reference, answer)]).pairs]


@pytest.mark.parametrize(
    ("reference", "answer", "corrected"),
    [
        (
            "Bilateral pleural effusions, left greater than right. Heart size is normal.",
            "There are bilateral pleural effusions, right greater than left.",
            "There are bilateral pleural effusions, left greater than right.",
        ),
        (
            "Bilateral airspace opacities, worse on the right. No pneumothorax.",
            "There are bilateral airspace opacities, worse on the left. No pneumothorax.",
            "There are bilateral airspace opacities, worse on the right.",
        ),
        (
            "Pulmonary edema has improved. Heart size is normal.",
            "The pulmonary edema has worsened. Heart size is normal.",
            "The pulmonary edema has improved.",
        ),
        (
            "Interval increase in the left pleural effusion. No pneumothorax.",
            "There has been an interval decrease in the left pleural effusion.",
            "There has been an interval increase in the left pleural effusion.",
        ),
        (
            "The heart is mildly enlarged. The lungs are clear.",
            "There is severe cardiomegaly. The lungs are clear.",
            "There is mild cardiomegaly.",
        ),
        (
            "Moderate cardiomegaly. No effusion.",
            "The cardiac silhouette is markedly enlarged. No effusion.",
            "The cardiac silhouette is moderately enlarged.",
        ),
    ],
)
def test_another_degree_is_wrong_and_corrected(reference: str, answer: str, corrected: str) -> None:
    assert judge(answer, facts(REPORT, reference)).verdict == "wrong"
    assert corrected in chosen(REPORT, reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (  # another finding has grown
            "Pulmonary edema has improved. The left effusion has increased.",
            "The left effusion has increased. Pulmonary edema has improved.",
        ),
        (  # it is not said of the same place
            "Right basilar opacity has improved. Left basilar opacity has worsened.",
            "The left basilar opacity has worsened.",
        ),
        ("Effusions, right greater than left. No edema.", "Effusions, larger on the right."),
        ("The heart is mildly to moderately enlarged. No edema.", "The heart is mildly enlarged."),
        ("The heart is slightly enlarged. No edema.", "There is mild cardiomegaly."),
        ("Edema has not improved. Heart normal.", "Edema has worsened."),
    ],
)
def test_the_same_degree_is_no_error(reference: str, answer: str) -> None:
    assert judge(answer, facts(REPORT, reference)).verdict != "wrong"


@pytest.mark.parametrize(
    ("question", "reference", "answer", "corrected"),
    [
        (
            "What is the most likely diagnosis?",
            "Appendicitis",
            "The most likely diagnosis is diverticulitis.",
            "The most likely diagnosis is appendicitis.",
        ),
        (
            "What is the probable cause of the opacity?",
            "Pneumonia",
            "The most likely cause of the opacity is pulmonary edema.",
            "The most likely cause of the opacity is pneumonia.",
        ),
        (
            "Describe the head CT.",
            "Acute epidural hematoma on the left. Ventricles are compressed on the left.",
            "There is an acute subdural hematoma on the left.",
            "There is an acute epidural hematoma on the left.",
        ),
        ("What is the view?", "AP", "The view is a lateral view.", "The view is an AP view."),
        (
            "What does the arrow point to?",
            "the spleen",
            "The arrow points to the left kidney, a retroperitoneal organ.",
            "The arrow points to the spleen.",
        ),
        (
            "What is the most likely cause of the opacity: pneumonia, edema or atelectasis?",
            "atelectasis",
            "Pneumonia is the most likely cause of the opacity, given the fever.",
            "Atelectasis is the most likely cause of the opacity.",
        ),
        (
            REPORT,
            "Small right hydropneumothorax. The left lung is clear.",
            "There is no pneumothorax. The left lung is clear.",
            "There is a pneumothorax.",
        ),
        (
            REPORT,
            "Stable left apical thickening of the pleura. Stable left pleural thickening.",
            "Pleural thickening on the right is unchanged.",
            "Pleural thickening on the left is unchanged.",
        ),
        (
            REPORT,
            "The heart is normal. There is a left pleural effusion.",
            "Comparison: None. There is a right pleural effusion. The heart is normal.",
            "There is a left pleural effusion.",
        ),
        (
            "Are the costophrenic angles sharp?",
            "no",
            "The costophrenic angles are sharp bilaterally.",
            "The costophrenic angles are not sharp.",
        ),
    ],
)
def test_it_is_read_and_corrected(
    question: str, reference: str, answer: str, corrected: str
) -> None:
    assert corrected in chosen(question, reference, answer)


def test_a_hedge_that_the_question_does_not_ask_for_stays_one() -> None:
    known = facts("What is the most likely diagnosis?", "Appendicitis")
    assert judge("This is likely diverticulitis.", known).verdict == "abstain"
