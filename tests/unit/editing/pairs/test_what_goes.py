"""What a correction takes along, and what it leaves: the sure sentences that remain."""

from __future__ import annotations

import pytest

from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from tests.support.datasets.graded_pairs import made

REPORT = "Describe the findings."


def sides(question: str, reference: str, answer: str) -> list[tuple[str, str]]:
    """(chosen, rejected) of every pair of an answer."""
    return [(p["chosen"], p["rejected"]) for p in made([(question, reference, answer)]).pairs]


@pytest.mark.parametrize(
    ("question", "reference", "answer", "chosen"),
    [
        (
            "What is the density of the cyst?",
            "hypodense",
            "The cyst is hyperdense because it contains blood products.",
            "The cyst is hypodense.",
        ),
        (
            "What is the diameter of the bile duct?",
            "12 mm",
            "The bile duct measures 4 mm in diameter, which is within the normal range.",
            "The bile duct measures 12 mm in diameter.",
        ),
        (
            "Is the mass cystic or solid?",
            "solid",
            "The mass is cystic, with a thin wall and fluid inside.",
            "The mass is solid.",
        ),
        (
            "Is there any abnormality in the liver?",
            "no",
            "There is an abnormality in the liver: a round hypodense lesion.",
            "There is no abnormality in the liver.",
        ),
        (
            "Where is the nodule?",
            "right upper lobe",
            "The nodule is located in the right lower lobe, near the base.",
            "The nodule is located in the right upper lobe.",
        ),
        # what is not there has no degree
        (
            "Is there hydrocephalus?",
            "no",
            "The scan shows severe hydrocephalus. The skull is intact.",
            "The scan does not show hydrocephalus.",
        ),
        (
            "Is there cardiomegaly?",
            "no",
            "The patient does have cardiomegaly, as the heart is wider than half the chest.",
            "The patient does not have cardiomegaly.",
        ),
        # both sides in the picture are no finding
        (
            "Which lung is collapsed?",
            "right lung",
            "The image shows both lungs. The left lung is collapsed.",
            "The right lung is collapsed.",
        ),
        # the fifth rib is the 5th
        (
            REPORT,
            "Fracture of the right 7th and 8th ribs. The lungs are clear.",
            "A fracture of the left seventh and eighth ribs is seen. The lungs are clear.",
            "A fracture of the right seventh and eighth ribs is seen.",
        ),
        # "whose tips" makes no line a plural, and an ovary is no adjective
        (
            REPORT,
            "Left PICC with its tips in the SVC. No pneumothorax.",
            "There is a right PICC line whose tip ends in the SVC. No pneumothorax.",
            "There is a left PICC line whose tip ends in the SVC.",
        ),
        (
            "Describe the pelvic ultrasound.",
            "A 3 cm cyst is present in the left ovary. No free fluid.",
            "There is a 3 cm cyst in the right ovary. No free fluid is seen.",
            "There is a 3 cm cyst in the left ovary.",
        ),
        # what a finding is read as is no reason for its side
        (
            REPORT,
            "Right lower lobe opacity consistent with pneumonia. The heart is normal.",
            "There is an opacity in the right upper lobe, which is consistent with pneumonia.",
            "There is an opacity in the right lower lobe, which is consistent with pneumonia.",
        ),
    ],
)
def test_a_sure_correction_is_made(question: str, reference: str, answer: str, chosen: str) -> None:
    assert chosen in [one for one, _ in sides(question, reference, answer)]


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("Which lung is collapsed?", "right lung", "The image shows both lungs."),
        ("Which eye is affected?", "left eye", "Both eyes are visible in this picture."),
    ],
)
def test_a_pair_in_the_picture_is_no_error(question: str, reference: str, answer: str) -> None:
    assert judge(answer, facts(question, reference)).verdict != "wrong"


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        (
            "What kind of fracture is shown?",
            "comminuted fracture of the tibia",
            "The image shows a transverse fracture of the tibia.",
        ),
        ("What type of hernia is this?", "incarcerated hernia", "This is a reducible hernia."),
    ],
)
def test_the_asked_kind_is_not_confirmed_by_its_name(
    question: str, reference: str, answer: str
) -> None:
    assert judge(answer, facts(question, reference)).verdict != "right"


@pytest.mark.parametrize(
    ("question", "reference", "answer", "never"),
    [
        (
            "What is the main abnormality?",
            "Cardiomegaly",
            "The main abnormality is cardiomegaly.",
            "is no",
        ),
        (
            REPORT,
            "Stable cardiomegaly. The lungs are clear.",
            "The lungs are clear. Cardiomegaly is stable.",
            "No cardiomegaly is stable",
        ),
        (
            "What is seen in the left hemithorax?",
            "pleural effusion",
            "There is a large amount of fluid in the pleural space of the left hemithorax.",
            "no amount of",
        ),
        (
            "What does the CT show?",
            "liver abscess",
            "The CT shows a large fluid collection, consistent with a liver abscess.",
            "shows cyst",
        ),
    ],
)
def test_no_rejected_side_says(question: str, reference: str, answer: str, never: str) -> None:
    for _, rejected in sides(question, reference, answer):
        assert never not in rejected or never in answer


def test_what_denies_the_question_is_no_chosen_side() -> None:
    answer = "The mass does not show rim enhancement; it enhances evenly."
    assert answer not in [one for one, _ in sides("Is the mass rim-enhancing?", "yes", answer)]
