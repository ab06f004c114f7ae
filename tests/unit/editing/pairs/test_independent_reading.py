"""What an independent reader of new reports and paragraphs found: each kind with its siblings."""

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
    ("question", "reference", "answer", "never"),
    [
        # a yes or no stays only before a clause that goes with it
        (
            "Describe whether pneumonia is shown.",
            "There is a dense consolidation consistent with pneumonia. The heart is normal.",
            "No, this X-ray does not show pneumonia. The heart is normal.",
            "No, this X-ray shows",
        ),
        # a picture that has a heart need not be mainly of it
        (
            "Which organ in the picture belongs to the circulatory system?",
            "Heart",
            "The image is a chest X-ray, which primarily shows the lungs, which are part of the "
            "circulatory system.",
            "primarily shows the heart",
        ),
        (
            "What is the largest organ in the picture?",
            "Liver",
            "The picture mainly depicts the spleen.",
            "mainly depicts the liver",
        ),
        # the tip that is not seen is the tip of a tube that is there
        (
            REPORT,
            "Feeding tube tip not visualized. No pneumothorax.",
            "A feeding tube is present. No pneumothorax.",
            "No feeding tube",
        ),
        (
            REPORT,
            "The tip of the PICC line is not seen. The lungs are clear.",
            "A PICC line is present. The lungs are clear.",
            "No PICC",
        ),
        (
            REPORT,
            "The cause of the effusion is not evident. The heart is enlarged.",
            "There is an effusion. The heart is enlarged.",
            "no effusion",
        ),
        # a side is taken from what the sentence is about
        (
            REPORT,
            "Multiple bilateral pulmonary metastases. Lytic lesion in the right scapula.",
            "There are multiple metastases in both lungs. There is a lytic lesion of the left "
            "scapula.",
            "bilateral scapula",
        ),
        (
            REPORT,
            "Bilateral nodules. Sclerotic lesion in the left clavicle. The heart is normal.",
            "Nodules are seen bilaterally. There is a sclerotic lesion of the right clavicle.",
            "bilateral",
        ),
        # what an earlier sentence saw as a sign is not denied as a disease behind it
        (
            REPORT,
            "The lungs are clear. No consolidation. Impression: No acute abnormality.",
            "The lungs are hyperinflated with a consolidation in the right lower lobe. Right lower "
            "lobe pneumonia.",
            "No right lower lobe pneumonia",
        ),
        # what the question asks about is not cut with its clause
        (
            "Which organs in the picture belong to the circulatory system?",
            "Heart",
            "The image shows the lungs, which are part of the circulatory system.",
            "shows the heart.",
        ),
        (
            "Which organ is part of the nervous system in this image?",
            "Spinal cord",
            "The image shows the abdomen, with a focus on the spleen.",
            "The image shows the spinal cord.",
        ),
        # one word is wrong, and one word is changed
        (
            REPORT,
            "There is right lower lobe collapse with elevation of the right hemidiaphragm. The "
            "left lung is clear.",
            "The X-ray reveals partial collapse of the right upper lobe. The left lung is clear.",
            "elevation",
        ),
        (
            REPORT,
            "Left internal jugular dialysis catheter with tip in the right atrium. No effusion.",
            "A dialysis catheter enters from the right internal jugular vein with its tip in the "
            "right atrium.",
            "Left internal jugular dialysis catheter with",
        ),
        (
            "Which part of the human body is the organ located in?",
            "Pelvic Cavity",
            "The organ in the image is the brain, which is part of the nervous system.",
            "is the pelvic cavity",
        ),
        # a place is named as closely as the reference names it, once, and in place of all others
        (
            "Where is the abnormality located?",
            "Right side of the trachea",
            "The abnormality is located in the left lower lobe of the lung.",
            "in the trachea",
        ),
        (
            "Where are the lesions?",
            "Paratracheal area",
            "The lesions are located in the right upper lobe and the left lower lobe of the lungs.",
            "and the paratracheal",
        ),
        (
            "Where is the spleen in this image?",
            "The spleen is located in the left upper quadrant of the image.",
            "In this image, the spleen is located in the pelvis.",
            "the spleen is located in the spleen",
        ),
        (
            "Where is the gastric bubble located?",
            "Underneath the right hemidiaphragm",
            "The gastric bubble is located in the left hemithorax.",
            "in the underneath",
        ),
    ],
)
def test_no_chosen_side_says(question: str, reference: str, answer: str, never: str) -> None:
    assert not [chosen for chosen, _ in sides(question, reference, answer) if never in chosen]


@pytest.mark.parametrize(
    ("question", "reference", "answer", "chosen"),
    [
        # a closed question with a request behind it
        (
            "Does this X-ray show pneumonia? Explain.",
            "There is a dense consolidation consistent with pneumonia. The heart is normal.",
            "No, this X-ray does not show pneumonia. The heart is normal.",
            "Yes, this X-ray shows pneumonia.",
        ),
        (
            "Is there a pneumothorax? Please describe the findings.",
            "No pneumothorax. The heart is normal.",
            "Yes, there is a pneumothorax on the right side. The heart is normal.",
            "No, there is no pneumothorax on the right side.",
        ),
        # "is also" begins no definition
        (
            REPORT,
            "No pleural effusion. The heart is enlarged.",
            "The heart is enlarged. A small right pleural effusion is also present.",
            "No right pleural effusion is present.",
        ),
        # a second finding is no other name for the first
        (
            "What is the main finding in this radiograph?",
            "There is a mass in the right upper lobe. Right hilar lymphadenopathy. No effusion.",
            "There is a mass in the right upper lobe. There is also left hilar lymphadenopathy.",
            "There is also right hilar lymphadenopathy.",
        ),
        # an old fracture is no acute disease
        (
            REPORT,
            "There is an old healed fracture of the left sixth rib. Impression: No acute disease.",
            "This chest X-ray shows no acute disease. A healed fracture of the right sixth rib is "
            "noted.",
            "A healed fracture of the left sixth rib is noted.",
        ),
        # words of direction say no more than the side does
        (
            REPORT,
            "There is a right-sided chest tube with the tip near the apex. The heart is normal.",
            "A left-sided chest tube is present with its tip directed toward the apex.",
            "A right-sided chest tube is present with its tip directed toward the apex.",
        ),
        (
            REPORT,
            "Mediastinal shift to the right is noted. No effusion.",
            "The mediastinum is shifted toward the left. No effusion.",
            "The mediastinum is shifted toward the right.",
        ),
        (
            REPORT,
            "There is right lower lobe collapse. The left lung is clear.",
            "The X-ray shows collapse of the right upper lobe. The left lung is clear.",
            "The X-ray shows collapse of the right lower lobe.",
        ),
        (
            REPORT,
            "Multiple bilateral pulmonary metastases. Lytic lesion in the right scapula.",
            "There are multiple metastases in both lungs. There is a lytic lesion of the left "
            "scapula.",
            "There is a lytic lesion of the right scapula.",
        ),
        # an impression that says less of a finding takes no measure from it
        (
            REPORT,
            "A small right apical pneumothorax measures 8 mm. Impression: Small right apical "
            "pneumothorax.",
            "There is a small apical pneumothorax on the right measuring 18 mm.",
            "There is a small apical pneumothorax on the right measuring 8 mm.",
        ),
        (
            REPORT,
            "Large right tension pneumothorax with leftward mediastinal shift. No hemothorax.",
            "There is a large left tension pneumothorax. There is no hemothorax.",
            "There is a large right tension pneumothorax.",
        ),
        (
            REPORT,
            "Blunting of the left costophrenic angle. No infiltrate. The heart is normal.",
            "The PA and lateral views demonstrate blunting of the right costophrenic angle.",
            "The PA and lateral views demonstrate blunting of the left costophrenic angle.",
        ),
        # what is not there is in no two lungs
        (
            REPORT,
            "No pulmonary nodules. No effusion. The heart is normal in size.",
            "There are several pulmonary nodules in both lungs. There is no effusion.",
            "There are no pulmonary nodules.",
        ),
        # a small heart confirms no small effusion
        (
            REPORT,
            "No pleural effusion. Heart is small. No pneumothorax.",
            "There is a small left pleural effusion. There is no pneumothorax.",
            "There is no left pleural effusion.",
        ),
        # several things are several of another kind
        (
            "What are those densities in the wall of the aorta?",
            "Calcifications",
            "The densities in the wall of the aorta are indicative of a resolved hemorrhage.",
            "The densities in the wall of the aorta are indicative of calcifications.",
        ),
        # the sentence's own words, where they say no more than the reference
        (
            REPORT,
            "Free air under the right hemidiaphragm. Lungs clear. No effusion.",
            "There is no free air under the diaphragm. The lungs are clear.",
            "There is free air under the diaphragm.",
        ),
        (
            "Do the organs in the image exist in the neck?",
            "Yes",
            "No, the organs in the image are not found in the neck.",
            "Yes, the organs in the image are found in the neck.",
        ),
        (
            "Does the trachea exist in this picture?",
            "No",
            "Yes, the trachea is clearly visible in this image.",
            "No, the trachea is not visible in this image.",
        ),
        # the clause that repeats the question stays, and agrees
        (
            "Which organs in the picture belong to the circulatory system?",
            "Heart",
            "The image shows the lungs, which are part of the circulatory system.",
            "The image shows the heart, which is part of the circulatory system.",
        ),
        # the place that an open question asks for
        (
            "Where is the mass?",
            "Pituitary fossa",
            "The mass is located in the left frontal region of the brain.",
            "The mass is located in the pituitary fossa of the brain.",
        ),
        (
            "In which lobe is the enhancement?",
            "Right frontal lobe",
            "The enhancement is located in the right parietal lobe of the brain.",
            "The enhancement is located in the right frontal lobe of the brain.",
        ),
        (
            "Where is/are the abnormality located?",
            "Right lobe of the liver",
            "The abnormality is located in the right adrenal gland.",
            "The abnormality is located in the right lobe of the liver.",
        ),
        (
            "Where is/are the abnormality located?",
            "Left Lung, Lower Right",
            "The abnormality is located in the right upper lobe of the lung.",
            None,
        ),
        # a normal image, and what is abnormal
        (
            "Are there abnormalities in this image?",
            "Yes",
            "The chest x-ray appears to be normal, with no significant abnormalities detected.",
            "The chest x-ray appears to be abnormal.",
        ),
        (
            "What diseases are included in the picture?",
            "Lung cancer",
            "The image is a CT scan showing normal lung anatomy with no signs of cancer.",
            None,
        ),
        (
            "What diseases are included in the picture?",
            "Pneumonia",
            "The chest X-ray image shows a normal lung with no signs of pneumonia or any other "
            "disease.",
            "The chest X-ray image shows pneumonia.",
        ),
        (
            "What diseases are included in the picture?",
            "Nodule",
            "The chest X-ray shows a completely healthy lung with no signs of any disease.",
            "The chest X-ray shows a nodule.",
        ),
    ],
)
def test_a_sure_correction_is_made(
    question: str, reference: str, answer: str, chosen: str | None
) -> None:
    made_of = [one for one, _ in sides(question, reference, answer)]
    assert chosen in made_of if chosen is not None else not made_of


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("An old healed rib fracture. The heart is normal.", "There is no acute disease."),
        (
            "There is a granuloma in the left upper lobe. Lungs are otherwise clear.",
            "The remaining lung fields are clear.",
        ),
        ("There is a nodule in the left lung. No effusion.", "The rest of the lungs is clear."),
    ],
)
def test_it_is_no_error(reference: str, answer: str) -> None:
    assert judge(answer, facts(REPORT, reference)).verdict != "wrong"


def test_something_new_is_an_error_where_nothing_is_new() -> None:
    known = facts(REPORT, "Stable right upper lobe nodule. No new nodules. The heart is normal.")
    assert judge("There are several new nodules in the left lung.", known).verdict == "wrong"
    assert judge("There is a nodule in the right upper lobe.", known).verdict == "right"
