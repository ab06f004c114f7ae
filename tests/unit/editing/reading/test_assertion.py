"""Sentences: what is claimed of this image, and what only compares, defines, hedges or supposes."""

from __future__ import annotations

import pytest

from medray.editing.ontology.measures import measures_agree
from medray.editing.reading.claims import claims
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge


def verdict(question: str, reference: str, answer: str) -> str:
    return judge(answer, facts(question, reference)).verdict


@pytest.mark.parametrize(
    ("text", "present"),
    [
        # places and general nouns are no findings
        ("There is an effusion on the right side of the chest cavity.", {"effusion"}),
        ("The pelvic cavity is shown.", set()),
        ("The nasal cavity and the cranial cavity.", set()),
        ("There is a loss of muscle mass.", set()),
        ("The body mass index is high.", set()),
        ("There is a cavity in the left lung.", {"cavity"}),
        # definitions are knowledge of the world
        ("An infarct is a type of stroke caused by an embolism.", {"infarct"}),
        ("The nodule, which is a type of mass, is small.", {"nodule"}),
        ("Pneumonia is an infection of the lung that can cause an effusion.", {"pneumonia"}),
        ("CT is used to detect a hemorrhage.", set()),
        ("Hydrocephalus refers to enlarged ventricles.", {"hydrocephalus"}),
        # hedged, hypothetical and undecided statements
        ("An abnormal MRI would typically show a mass.", set()),
        ("This could be due to edema, mass effect or a tumor.", set()),
        ("It cannot be conclusively determined whether there is a mass.", set()),
        ("If present, a pneumothorax is small.", set()),
        ("It is difficult to determine if this is an abscess.", set()),
        ("A mass can be seen in the liver.", {"mass"}),
        # brackets abbreviate
        ("The brain shows multiple sclerosis (MS).", {"multiple_sclerosis"}),
        ("There is chronic obstructive pulmonary disease (COPD).", {"emphysema"}),
        # a list is denied as one
        ("The image does not show any mass, including cyst or abscess.", set()),
        ("The lungs lack any cases of pneumonia.", set()),
    ],
)
def test_what_is_claimed_to_be_there(text: str, present: set[str]) -> None:
    found = {c.value for c in claims(text) if c.attribute == "presence" and c.polarity}
    assert found == present


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("The left lung is clearer than the right.", {"left"}),
        ("The left lung appears clearer compared to the right lung.", {"left"}),
        ("Compared to the left lung, the right lung is larger.", {"right"}),
        ("The right lung is less clear than the left.", set()),
        ("Compared to the prior study, there is a left effusion.", {"left"}),
        ("The lesion is in the left rather than the right lobe.", {"left"}),
        ("A right aortic knuckle.", set()),
    ],
)
def test_the_other_side_of_a_comparison_is_not_claimed(text: str, sides: set[str]) -> None:
    assert {c.value for c in claims(text) if c.attribute == "side" and c.polarity} == sides


@pytest.mark.parametrize(
    ("question", "reference", "answer", "expected"),
    [
        # the attributes of a denied finding are not denied one by one
        ("Is acute peritonitis present?", "no", "Acute peritonitis is not present.", "right"),
        ("Is there a left effusion?", "no", "No, no left effusion is present.", "right"),
        ("Is there acute infarction?", "no", "No acute infarction is seen.", "right"),
        ("Is a chronic hematoma seen?", "no", "No, a chronic hematoma is not seen.", "right"),
        ("Is there a large mass?", "no", "No, there is no large mass.", "right"),
        # undecided answers
        ("Is this a stroke?", "yes", "It cannot be determined if this is a stroke.", "abstain"),
        (
            "Is there edema?",
            "no",
            "It is not possible to determine if edema is present.",
            "abstain",
        ),
        # comparisons
        ("Which lung is clearer?", "left", "The left is clearer than the right.", "right"),
        ("Which lung is clearer?", "left", "The right is clearer than the left.", "wrong"),
        ("Which lung is clearer?", "left", "The right is less clear than the left.", "abstain"),
        # measures are compared as one value
        ("How large is it?", "2.5 x 2 cm", "10 x 10 cm", "wrong"),
        ("How large is it?", "10 x 10 cm", "It measures 10 cm x 10 cm.", "right"),
        ("How large is it?", "2.5 x 2 cm", "25 x 20 mm", "right"),
        ("How large is it?", "5 cm", "It is less than 1 cm.", "wrong"),
        ("How large is it?", "2.5 cm", "It is 2-3 cm in size.", "right"),
        ("How large is it?", "2 x 3 x 4 cm", "2 x 3 x 5 cm", "wrong"),
        # parts are no contradiction of what contains them, and siblings are
        ("Where is the lesion?", "cerebellum", "It is in the left temporal lobe.", "wrong"),
        ("Where is the lesion?", "pons", "It is in the brainstem.", "abstain"),
        ("Where is the lesion?", "brainstem", "It is in the pons.", "right"),
        ("Where is the mass?", "pineal region", "In the frontal lobe of the brain.", "wrong"),
        ("Which artery is affected?", "basilar artery", "The left MCA is affected.", "wrong"),
        ("Which joint is shown?", "sacroiliac joint", "The hip joint.", "wrong"),
        ("Where is the fluid?", "left maxillary sinus", "In the sphenoid sinus.", "wrong"),
        ("Where is the mass?", "right atrium", "The mass is in the left ventricle.", "wrong"),
        ("Where is the mass?", "gallbladder", "It lies next to the liver.", "abstain"),
    ],
)
def test_what_is_compared(question: str, reference: str, answer: str, expected: str) -> None:
    assert verdict(question, reference, answer) == expected


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("20 mm", "20 mm", True),
        ("20 x 30 mm", "30 x 20 mm", True),
        ("20 x 30 mm", "20 x 31 mm", False),
        ("> 10 mm", "20 mm", True),
        ("> 10 mm", "5 mm", False),
        ("0.3", "0.8", False),
    ],
)
def test_measures(one: str, other: str, agree: bool) -> None:
    assert measures_agree(one, other) is agree
    assert measures_agree(other, one) is agree


@pytest.mark.parametrize(
    "text",
    [
        "The lungs are clear of consolidation.",
        "The left lung is clear of infiltrates.",
        "Lungs clear of any focal opacity.",
        "Both lungs are clear of effusion.",
    ],
)
def test_clear_of_something_denies_it(text: str) -> None:
    reference = "Lungs clear. Heart normal. No pneumothorax or effusion."
    known = facts("Describe the findings in this chest X-ray.", reference)
    assert judge(text, known).verdict == "right"
    against = "Consolidation, opacity and infiltrates in both lungs. Bilateral effusions."
    assert judge(text, facts("Describe the findings.", against)).verdict == "wrong"
