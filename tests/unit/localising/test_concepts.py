"""What is looked for: read from the texts by rules, from a closed list."""

import pytest

from medray.editing.ontology.lexicon import ontology
from medray.localising.concepts import _data, concepts, mentioned, phrase

CASES = [
    # what the reference asserts
    ("Describe the image.", "A small nodule in the left upper zone.", "Clear.", ["nodule"]),
    ("Describe the image.", "There is a left pleural effusion.", "", ["pleural effusion"]),
    ("Describe it.", "A mass in the liver. The heart is enlarged.", "", ["mass", "heart"]),
    ("Is there a fracture?", "Yes", "No", ["bone fracture"]),
    ("Is the nodule on the left?", "No, on the right.", "Yes", ["nodule"]),
    ("Is the heart enlarged?", "No", "Yes", ["heart"]),
    ("What is shown?", "Pneumonia", "Edema", ["pneumonia"]),
    # what the question takes for granted
    ("Where is the nodule?", "In the left lung.", "In the right lung.", ["nodule"]),
    ("How large is the effusion?", "Small", "Large", ["pleural effusion"]),
    # what only the answer names
    ("Is this study abnormal?", "Yes", "Yes, there is a nodule.", ["nodule"]),
    # organs, if there is nothing else
    ("Which organ is shown?", "Liver", "Kidney", ["liver"]),
]


@pytest.mark.parametrize(("question", "reference", "answer", "phrases"), CASES)
def test_concepts(question, reference, answer, phrases):
    assert [c.phrase for c in concepts(question, reference, answer)] == phrases


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("Is there a nodule?", "No", "Yes, there is a nodule."),
        ("Describe the image.", "The lungs are clear.", "There is a nodule."),
        ("Describe the image.", "No focal lesion is seen.", "There is a nodule in the left lung."),
        ("Is there an effusion?", "There is no pleural effusion.", "There is an effusion."),
        ("Is there a mass in the liver?", "No", "Yes"),
        ("What modality is this?", "CT", "MRI"),
        ("Does he have heart failure?", "Yes", "No"),
    ],
)
def test_nothing_is_looked_for_that_is_not_there_or_nowhere(question, reference, answer):
    assert concepts(question, reference, answer) == ()


def test_the_specific_finding_comes_before_the_general_one():
    found = concepts("Is there a lesion?", "Yes, there is a lesion, a nodule in the left lung.", "")
    assert [c.name for c in found] == ["nodule"]
    assert [c.phrase for c in concepts("Is there a focal lesion?", "Yes")] == ["lesion"]


def test_the_list_is_closed_and_complete():
    """Every finding has a phrase or is listed as having no place; nothing else is listed."""
    findings, data = ontology().findings, _data()
    assert {*data["phrases"], *data["nowhere"]} <= findings.keys()
    assert not set(data["phrases"]) & set(data["nowhere"])
    assert data["organs"].keys() <= ontology().attributes["organ"].forms.keys()
    for name in findings:
        assert bool(phrase(name)) == (name not in data["nowhere"])


def test_what_a_sentence_mentions_whether_it_asserts_or_denies_it():
    assert mentioned("No nodule, but an effusion.", "") == {"nodule", "effusion"}
    assert mentioned("Possible pneumonia. The heart is normal.", "") == {"pneumonia", "heart"}
    assert mentioned("On the left.", "Where is it?") == frozenset()
