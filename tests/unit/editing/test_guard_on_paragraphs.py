"""What a chosen sentence of a paragraph must not say, each kind with its sibling."""

from __future__ import annotations

import pytest

from medray.editing.findings import FindingsEditor

REPORT = "Write the report."


def sides(question: str, reference: str, answer: str) -> list[tuple[str, str]]:
    """(chosen, rejected) of every pair of an answer."""
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    own = [answer[s.start : s.end] for s in edit.sentences]
    pairs = [(s.text, text) for s, text in zip(edit.sentences, own, strict=True)]
    return pairs if edit.verdict == "wrong" else [(a, b) for b, a in pairs]


@pytest.mark.parametrize(
    ("question", "reference", "answer", "never"),
    [
        # a statement that is right beside a yes or no that is wrong is not denied
        (
            "Is the lesion in the middle zone?",
            "No, the lesion is in the upper zone.",
            "Yes, the lesion is in the upper zone.",
            "not in the upper zone",
        ),
        ("Is the mass small?", "No, the mass is large.", "Yes, the mass is large.", "not large"),
        # a broken bone takes its side from no tube and no nodule
        (
            "Which side is the chest tube on?",
            "The chest tube is on the right side.",
            "The chest tube is on the right side. The left clavicle is fractured.",
            "clavicle",
        ),
        (
            REPORT,
            "There is a large nodule in the left lung. The heart is enlarged.",
            "There is a large nodule in the left lung. The right rib is fractured.",
            "rib",
        ),
        # a modifier that the rules do not know, where the reference has another one
        (
            REPORT,
            "There is a small faint nodule in the left upper zone. The heart is enlarged.",
            "There is a small dense nodule in the right upper zone. The heart is enlarged.",
            "dense",
        ),
        (
            "What is seen?",
            "A banded opacity in the left lung.",
            "A wedged opacity in the left lung.",
            "wedged",
        ),
        # one mention of the finding in the reference has the size, the other has the side
        (
            REPORT,
            "There is a small cavity in the left lung. The left upper zone cavity is thick-walled.",
            "There is a large cavity in the right upper zone.",
            "large",
        ),
        # an examination that is advised is no modality of the image
        (
            REPORT,
            "There is a cavity in the left lower zone. The cavity should be followed up with CT.",
            "There is a cavity in the left lower zone. The nodule should be followed up with CT.",
            "followed up",
        ),
        (
            REPORT,
            "The right kidney has a cyst. MRI is recommended.",
            "The right kidney has a cyst. MRI of the spleen is recommended.",
            "recommended",
        ),
        # "any lesion" confirms no kind that the reference does not name
        (
            "Is any lesion seen?",
            "Yes, a small opacity is present in the left middle zone.",
            "Yes, there is a small nodule in the left middle zone.",
            "nodule",
        ),
    ],
)
def test_a_chosen_sentence_does_not_say(question, reference, answer, never):
    assert [chosen for chosen, _ in sides(question, reference, answer) if never in chosen] == []


@pytest.mark.parametrize(
    ("reference", "answer", "chosen"),
    [
        (
            "There is a small dense nodule in the left upper zone. The heart is enlarged.",
            "There is a small dense nodule in the right upper zone. The heart is enlarged.",
            "There is a small dense nodule in the left upper zone.",
        ),
        (
            "The heart is enlarged. The left clavicle is fractured.",
            "The heart is enlarged. The right clavicle is fractured.",
            "The left clavicle is fractured.",
        ),
    ],
)
def test_what_is_sure_is_corrected_as_before(reference, answer, chosen):
    assert chosen in [side for side, _ in sides(REPORT, reference, answer)]
