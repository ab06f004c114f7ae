"""Reports: headings, sections, organs, devices, and what the reference does not mention."""

from __future__ import annotations

import pytest

from medray.editing.language.sections import headings, without_structure
from medray.editing.reading.claims import claims
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge

REPORT = "Describe the chest radiograph."


def verdict(reference: str, answer: str, question: str = REPORT) -> str:
    return judge(answer, facts(question, reference)).verdict


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("FINDINGS: Clear.", ["FINDINGS:"]),
        ("Findings: Clear. Impression: Normal.", ["Findings:", "Impression:"]),
        ("**Findings:** Clear.\n\n## Impression\nNormal.", ["**Findings:**", "## Impression"]),
        ("1. Findings: Clear.", ["1. Findings:"]),
        ("Impression\nNormal chest.", ["Impression"]),
        ("CLINICAL HISTORY: Cough.\nTECHNIQUE: Two views.", ["CLINICAL HISTORY:", "TECHNIQUE:"]),
        ("The findings: clear lungs.", []),
        ("Clear lungs.", []),
        ("Impressive: yes.", []),
    ],
)
def test_headings_are_found_where_they_stand(text: str, names: list[str]) -> None:
    assert [text[start:end] for start, end, _ in headings(text)] == names
    assert len(without_structure(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "present"),
    [
        ("FINDINGS: The lungs are clear.", set()),
        ("Indication: pneumonia. Findings: There is a nodule.", {"nodule"}),
        ("HISTORY: Known effusion.\nIMPRESSION: No effusion.", set()),
        ("Reason for exam: rule out pneumothorax.\nFindings:\nRib fracture.", {"fracture"}),
        ("COMPARISON: Prior film with effusion.\n\nThere is a cavity.", {"cavity"}),
        ("Technique: CT after a fracture.", set()),
    ],
)
def test_headings_and_other_sections_assert_nothing(text: str, present: set[str]) -> None:
    found = {c.value for c in claims(text) if c.attribute == "presence" and c.polarity}
    assert found == present


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        # headings
        ("Findings: The lungs are clear.", "FINDINGS: No abnormality.", "right"),
        ("IMPRESSION: Normal heart size.", "Impression: The heart is enlarged.", "wrong"),
        ("INDICATION: Effusion. FINDINGS: Nodule.", "There is an effusion.", "wrong"),
        ("FINDINGS: No effusion.", "INDICATION: effusion. FINDINGS: no effusion.", "right"),
        ("Findings:\nLeft effusion.\nImpression:\nEffusion.", "Findings: Right effusion.", "wrong"),
        # a device lends its side to nothing, and takes none
        ("Right IJ line. Small left pleural effusion.", "Small right pleural effusion.", "wrong"),
        ("Right IJ line. Small left pleural effusion.", "Small left pleural effusion.", "right"),
        ("Left PICC. Right effusion.", "Left PICC. Left effusion.", "wrong"),
        ("Left PICC. Right effusion.", "Right PICC. Right effusion.", "wrong"),
        ("Right chest tube. No pneumothorax.", "Right chest tube. No pneumothorax.", "right"),
        ("Left effusion.", "Left effusion. A right pacemaker is unchanged.", "right"),
        ("Left effusion. Cardiomegaly.", "Sternotomy wires. Left effusion.", "right"),
        (
            "Left subclavian line. Clear lungs.",
            "No acute abnormality. Left subclavian line.",
            "right",
        ),
        # one organ says nothing of another
        ("Left nodule. Normal heart.", "The osseous structures are unremarkable.", "right"),
        ("Left nodule. Normal heart.", "No mediastinal abnormality. No nodule.", "wrong"),
        ("Rib fracture. Clear lungs.", "The bones are unremarkable.", "wrong"),
        ("Left effusion. Normal heart.", "No bony abnormality. Left effusion.", "right"),
        ("Pneumonia. Normal heart.", "No abnormality of the lungs.", "wrong"),
        ("Old granuloma. Scoliosis.", "No acute abnormality.", "abstain"),
        ("No acute bony abnormality. No effusion.", "Rib fracture. No effusion.", "wrong"),
        ("No acute bony abnormality. No effusion.", "Scoliosis. No effusion.", "right"),
        ("No acute bony abnormality. Left nodule.", "The bones are unremarkable.", "right"),
        ("Obstructive lung disease. No effusion.", "There is an effusion.", "wrong"),
        # what a report does not mention is unknown
        ("Small left effusion. Enlarged heart.", "Enlarged heart. Scoliosis.", "right"),
        ("Small left effusion. Enlarged heart.", "Enlarged heart. There is a hernia.", "right"),
        ("Left effusion. Enlarged heart. No edema.", "Enlarged heart. Right nodule.", "right"),
        ("Left effusion. Enlarged heart.", "There is a rib fracture.", "abstain"),
        ("Clear lungs. Normal heart.", "There is a rib fracture. Normal heart.", "right"),
        ("Enlarged heart. Clear lungs.", "Normal chest.", "wrong"),
    ],
)
def test_reports_are_compared_by_organ_and_device(
    reference: str, answer: str, expected: str
) -> None:
    assert verdict(reference, answer) == expected


@pytest.mark.parametrize(
    "report",
    [
        "FINDINGS: The lungs are clear. No effusion.\nIMPRESSION: Normal chest.",
        "Right-sided PICC with tip in the mid SVC. Small bilateral pleural effusions. No edema.",
        "Findings: Calcified granuloma in the left mid lung. The bony structures are intact.",
        "The heart is borderline in size. Left chest tube in place. No pneumothorax is seen.",
    ],
)
def test_a_report_agrees_with_itself(report: str) -> None:
    assert verdict(report, report) == "right"
