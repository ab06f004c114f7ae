"""What a correction leaves standing: reasons, comments, places and parts of what it replaced."""

from __future__ import annotations

import pytest

from tests.support.datasets.graded_pairs import made

REPORT = "Describe the findings."


def sides(question: str, reference: str, answer: str) -> list[tuple[str, str]]:
    """(chosen, rejected) of every pair of an answer."""
    return [(p["chosen"], p["rejected"]) for p in made([(question, reference, answer)]).pairs]


@pytest.mark.parametrize(
    ("question", "reference", "answer", "never"),
    [
        # the reason of a removed value goes with it, whatever the value is
        (
            "What is the density of the cyst?",
            "hypodense",
            "The cyst is hyperdense because it contains blood products.",
            "because",
        ),
        (
            "On which side is the pneumothorax?",
            "left",
            "The pneumothorax is on the right side, since no lung markings are seen there.",
            "since",
        ),
        (
            "What colour is the fluid on this image?",
            "white",
            "The fluid appears black as it has no signal.",
            "as it",
        ),
        (
            "What is the intensity of the cyst?",
            "hypointense",
            "The cyst is hyperintense, reflecting its proteinaceous content.",
            "proteinaceous",
        ),
        # a definition may stand behind a dash, and an argument behind a semicolon
        (
            "Is there a nodule in the left lung?",
            "no",
            "There is a nodule in the left lung - a round opacity of 1 cm.",
            "round",
        ),
        (
            "Is the catheter too deep?",
            "yes",
            "No, the catheter is not too deep; the tip ends well above the carina.",
            "well above",
        ),
        (
            "Is the spleen enlarged?",
            "no",
            "The spleen is enlarged, extending below the costal margin.",
            "extending",
        ),
        (
            "Is the colon dilated?",
            "yes",
            "The colon does not appear dilated, with a normal gas pattern.",
            "normal gas",
        ),
        (
            "How many stones are there?",
            "four",
            "There are two stones in the kidney, both in the lower pole.",
            "both",
        ),
        (
            REPORT,
            "Spiral fracture of the left tibia. No dislocation.",
            "There is a transverse fracture of the right tibia. No dislocation.",
            "transverse fracture of the left",
        ),
        (
            REPORT,
            "Displaced fracture of the left clavicle. The lungs are clear.",
            "There is a nondisplaced fracture of the right clavicle. The lungs are clear.",
            "nondisplaced fracture of the left",
        ),
        (
            REPORT,
            "Bilateral effusions, right larger than left. The heart is normal.",
            "Bilateral effusions, larger on the left than on the right. The heart is normal.",
            "larger on the right than on the right",
        ),
        (
            "What is wrong with the heart?",
            "cardiomegaly",
            "The heart is normal in size and position.",
            "enlarged and position",
        ),
        (
            "What is the diagnosis?",
            "sarcoidosis",
            "The diagnosis is tuberculosis, given the hilar lymphadenopathy.",
            "the sarcoidosis",
        ),
        # whatever follows in the sentence belonged to what is replaced
        (
            "What organ is seen on the right of the image?",
            "spleen",
            "The organ seen on the right of the image is the bladder, filled with urine.",
            "urine",
        ),
        (
            "What plane is shown?",
            "axial",
            "The plane is sagittal, as the whole spine is seen.",
            "as",
        ),
        ("How large is the node?", "3 cm", "The node is about 8 mm, quite small.", "small"),
        (
            "Is there a dissection of the aorta?",
            "yes",
            "No, the aorta is normal, and there is no dissection of the aorta.",
            "is normal",
        ),
        (
            "Is there a fracture of the rib?",
            "no",
            "Yes, there is a nondisplaced fracture of the rib.",
            "nondisplaced",
        ),
        (
            "Is the nodule in the upper or lower lobe?",
            "lower lobe",
            "The nodule is in the upper lobe, with elevation of the hilum.",
            "hilum",
        ),
        ("What sequence is this?", "FLAIR", "This is a T2-weighted image.", "FLAIR-weighted"),
        ("Is it a PA or an AP film?", "AP", "It is a PA film.", "view"),
        (
            "Is there an effusion on the left side?",
            "yes",
            "There is no effusion on the left side, as the costophrenic angle is sharp.",
            "sharp",
        ),
        (
            "Is the bone scan abnormal?",
            "yes",
            "The bone scan is normal with symmetric uptake.",
            "symmetric",
        ),
        (
            "What is seen in the stomach?",
            "ulcer",
            "A mass protruding from the wall is seen in the stomach.",
            "protruding",
        ),
        (
            "What type of lesion is seen?",
            "abscess",
            "The lesion seen is a cyst with a thin, smooth wall.",
            "thin",
        ),
        (
            "Is the left atrium enlarged?",
            "yes",
            "The left atrium is of normal size.",
            "of enlarged",
        ),
        (
            "Which side shows the mass?",
            "left",
            "The mass is on the right side, where the tissue is denser.",
            "denser",
        ),
        (
            "What are the dark spots in the liver?",
            "cysts",
            "The dark spots in the liver are metastases.",
            "is cysts",
        ),
        # a comment on a number is about that number
        (
            "What is the diameter of the bile duct?",
            "12 mm",
            "The bile duct measures 4 mm in diameter, which is within the normal range.",
            "normal",
        ),
        (
            "How wide is the aorta?",
            "2.1 cm",
            "The aorta is dilated and measures 5.0 cm.",
            "dilated and measures 2.1",
        ),
        # what describes the other value is not said of the right one
        (
            "Is the mass cystic or solid?",
            "solid",
            "The mass is cystic, with a thin wall and fluid inside.",
            "thin wall",
        ),
        (
            "Is the fracture displaced or nondisplaced?",
            "displaced",
            "The fracture is nondisplaced and well aligned.",
            "aligned",
        ),
        (
            "What is the shape of the nodule?",
            "irregular",
            "The nodule is round, with smooth margins.",
            "smooth",
        ),
        # a definition behind a colon goes with what it defines
        (
            "Is there any abnormality in the liver?",
            "no",
            "There is an abnormality in the liver: a round hypodense lesion.",
            "round",
        ),
        (
            "Is there a lesion in the brain?",
            "no",
            "There is a lesion in the brain: an enhancing mass of the left frontal lobe.",
            "enhancing",
        ),
        # where the wrong finding was, nobody says of the right one
        (
            "What abnormality is seen in the right kidney?",
            "renal calculus",
            "The right kidney shows a cyst in the upper pole.",
            "upper pole",
        ),
        (
            "What is the abnormality of the pancreas?",
            "pseudocyst",
            "The pancreas shows a mass in the tail.",
            "in the tail",
        ),
        # a landmark of the wrong place is none of the right one
        (
            "Where is the nodule?",
            "right upper lobe",
            "The nodule is located in the right lower lobe, near the base.",
            "near",
        ),
        (
            "Where is the opacity?",
            "left lower lobe",
            "The opacity is in the left upper lobe, just below the clavicle.",
            "clavicle",
        ),
        # no to one side says nothing of the other
        (
            "Is the catheter on the left side?",
            "no",
            "The catheter is on the left side, below the clavicle.",
            "right",
        ),
        # who is not normal need not be so in every respect
        (
            "Are the lungs normal?",
            "no",
            "Both lungs are normal in size and shape, with no masses.",
            "size",
        ),
        ("Are the kidneys normal?", "no", "The kidneys appear normal in size.", "in size"),
        (
            "Are the optic discs pale?",
            "no",
            "Both optic discs are pale.",
            "Both optic discs are not",
        ),
        # two findings are not denied together
        (
            REPORT,
            "Pneumomediastinum with subcutaneous emphysema in the neck. No pneumothorax.",
            "The film shows bilateral pneumothoraces with subcutaneous emphysema in the neck.",
            "not show",
        ),
        # a later sentence explains the wrong side of the first
        (
            "Which side is the pleural effusion on?",
            "left",
            "The effusion is on the right side. The right costophrenic angle is blunted.",
            "The left costophrenic",
        ),
        # the cortex of a bone is no brain
        (
            "Which bone is fractured?",
            "the fibula",
            "The tibia is fractured, as evidenced by the break in the cortex.",
            "break in the fibula",
        ),
        # part of a bone is more than the bone
        (
            "Describe the hip X-ray.",
            "Subtrochanteric fracture of the right femur. No dislocation.",
            "There is a fracture of the left femoral neck. No dislocation is seen.",
            "right femoral neck",
        ),
    ],
)
def test_no_chosen_side_says(question: str, reference: str, answer: str, never: str) -> None:
    assert not [chosen for chosen, _ in sides(question, reference, answer) if never in chosen]
