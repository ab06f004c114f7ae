"""Parsing: what texts assert and deny, and where."""

from __future__ import annotations

import pytest

from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.claims import claims


def claim_set(text: str, question: str = "") -> set[tuple[str, str, str, bool]]:
    return {(c.subject, c.attribute, c.value, c.polarity) for c in claims(text, question)}


NODULE = {
    ("nodule", "presence", "nodule", True),
    ("nodule", "size", "small", True),
    ("nodule", "side", "left", True),
    ("nodule", "zone", "upper", True),
}


@pytest.mark.parametrize(
    "text",
    [
        "There is a small nodule in the left upper zone.",
        "A small nodule is seen in the upper zone of the left lung.",
        "Small left upper zone nodule.",
        "The left upper zone shows a small nodule",
        "SMALL LEFT UPPER ZONE NODULE!!!",
    ],
)
def test_one_lesion_in_many_words(text: str) -> None:
    assert {c for c in claim_set(text) if c[1] != "organ"} == NODULE


@pytest.mark.parametrize(
    "text",
    [
        "No focal lesion is seen.",
        "There is no focal lesion.",
        "The lungs are clear.",
        "Both lungs are clear.",
        "A focal lesion is not seen",
        "Focal lesions are absent.",
        "No evidence of a focal lesion",
    ],
)
def test_a_denial_of_all_lesions(text: str) -> None:
    assert [(c.value, c.polarity) for c in claims(text) if c.attribute == "presence"] == [
        ("lesion", False)
    ]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("The heart is normal in size.", "normal"),
        ("Heart size is within normal limits.", "normal"),
        ("Normal heart size.", "normal"),
        ("No cardiomegaly.", "normal"),
        ("There is no cardiomegaly", "normal"),
        ("The heart is not enlarged.", "normal"),
        ("The heart isn't enlarged.", "normal"),
        ("The heart is enlarged.", "enlarged"),
        ("There is cardiomegaly.", "enlarged"),
        ("The cardiac silhouette is enlarged.", "enlarged"),
        ("Enlarged heart.", "enlarged"),
        ("The heart is not normal in size", "enlarged"),
    ],
)
def test_the_state_of_the_heart(text: str, state: str) -> None:
    assert claim_set(text) == {("heart", "heart", state, True)}


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        ("No nodule or mass.", set(), {"nodule", "mass"}),
        ("No nodule, mass or effusion is seen.", set(), {"nodule", "mass", "effusion"}),
        ("No nodule, but a large effusion.", {"effusion"}, {"nodule"}),
        ("No nodule and a large effusion.", {"effusion"}, {"nodule"}),
        ("An effusion without pneumothorax.", {"effusion"}, {"pneumothorax"}),
        ("A nodule and a mass", {"nodule", "mass"}, set()),
        ("Nodule and mass are not seen.", set(), {"nodule", "mass"}),
        ("No nodule. There is a cavity.", {"cavity"}, {"nodule"}),
        ("Neither nodule nor mass", set(), {"nodule", "mass"}),
        ("A nodule cannot be excluded.", set(), set()),
        ("There is no change in the nodule", {"nodule"}, set()),
    ],
)
def test_negation_stays_in_its_clause(text: str, present: set[str], absent: set[str]) -> None:
    found = [c for c in claims(text) if c.attribute == "presence"]
    assert {c.value for c in found if c.polarity} == present
    assert {c.value for c in found if not c.polarity} == absent


def test_attributes_stay_with_their_finding() -> None:
    found = claim_set("A small left nodule and a large right effusion.")
    assert ("nodule", "side", "left", True) in found
    assert ("effusion", "side", "right", True) in found
    assert ("effusion", "size", "large", True) in found
    assert ("nodule", "size", "large", True) not in found


def test_a_denied_attribute_is_not_a_denied_finding() -> None:
    found = claim_set("The lesion is not in the upper zone.")
    assert ("lesion", "presence", "lesion", True) in found
    assert ("lesion", "zone", "upper", False) in found


@pytest.mark.parametrize(
    ("text", "question", "claim"),
    [
        ("Normal", "How is the heart size?", ("heart", "heart", "normal", True)),
        ("Enlarged", "What is the size of the heart?", ("heart", "heart", "enlarged", True)),
        ("Left", "Which side is the lesion on?", ("lesion", "side", "left", True)),
        ("None", "What is the abnormality?", ("abnormality", "presence", "abnormality", False)),
        ("5.6 cm", "How large is the mass?", ("lesion", "measure", "56 mm", True)),
        ("MRI", "", ("study", "modality", "mri", True)),
        ("AP view", "", ("study", "plane", "ap", True)),
    ],
)
def test_short_answers_depend_on_the_question(
    text: str, question: str, claim: tuple[str, str, str, bool]
) -> None:
    assert claim in claim_set(text, question)


def test_ranges_are_characters_of_the_text() -> None:
    text = "İ́ 👩‍⚕️ naïve: small LEFT nodule"
    for claim in claims(text):
        assert text[claim.start : claim.end].lower() in ("small", "left", "nodule")
    assert len(claims(text)) == 3


def test_the_ontology_refers_only_to_its_own_entries() -> None:
    onto = ontology()
    for finding in onto.findings.values():
        assert finding.covered_by <= set(onto.findings)
        assert set(finding.plausible) <= set(onto.findings)
    for attribute in onto.attributes.values():
        assert attribute.error_type in onto.severity
        assert {*attribute.binary, *attribute.variants} <= set(attribute.forms)
        for parts in attribute.part_of.values():
            assert parts <= set(attribute.forms)
    assert {"presence", "kind", "attribute"} <= set(onto.severity)
    assert all(0.0 <= value <= 1.0 for value in onto.severity.values())
    assert all(isinstance(word, str) for key in onto.entries for word in key)
