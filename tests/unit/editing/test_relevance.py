"""Clinical relevance: raw scores and their normalisation."""

from __future__ import annotations

import math

import pytest

from medray.editing import FindingsEditor
from medray.editing.ontology.lexicon import ontology
from medray.editing.relevance import normalise, relevance, score_relevance
from medray.editing.relevance.significance import grades, significance
from medray.records import Edit, Span


def test_an_edit_is_as_relevant_as_its_worst_error() -> None:
    spans = (Span(0, 1, "size", 0.5, ""), Span(2, 3, "side", 1.0, ""))
    assert relevance(Edit("wrong", "x", spans, spans)) == 1.0
    assert relevance(Edit("wrong", "x", spans[:1], spans[:1])) == 0.5
    assert relevance(Edit("abstain")) == 0.0


def test_a_window_computed_by_hand() -> None:
    # mean .6, deviations -.2, -.1, .1, .2: variance .025; ×√(.1/.025) = ×2
    normalised = normalise([0.4, 0.5, 0.7, 0.8])
    assert normalised == pytest.approx([0.75, 0.8, 1.2, 1.25])  # 0.6 and 1.4 are clipped


def test_before_clipping_mean_is_one_and_variance_a_tenth() -> None:
    scores = [0.5] * 10 + [0.5 + 1e-3, 0.5 - 1e-3] * 20
    normalised = normalise(scores)
    inside = [g for g in normalised if 0.75 < g < 1.25]
    assert inside == pytest.approx([1.0] * 10)
    assert all(0.75 <= g <= 1.25 for g in normalised)


@pytest.mark.parametrize("window", [[], [0.3], [0.7] * 5, [0.1 + 0.2, 0.3]])
def test_constant_windows_give_one(window: list[float]) -> None:
    assert normalise(window) == [1.0] * len(window)


def test_none_returns_the_scores() -> None:
    assert normalise([0.1, 1.0], mode="none") == [0.1, 1.0]


def test_an_invalid_score_or_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        normalise([0.5, math.nan])
    with pytest.raises(ValueError, match="zscore"):
        normalise([0.5], mode="zscore")  # type: ignore[arg-type]


REPORT = "Describe the image."


@pytest.mark.parametrize(
    ("question", "reference", "answer", "score"),
    [
        # the finding is wrong: its grade
        ("Is there a pneumothorax?", "No", "Yes", 1.0),
        ("Is there a pneumothorax?", "Yes", "No", 1.0),
        ("Is there atelectasis?", "No", "Yes", 0.25),
        ("Is there cardiomegaly?", "No", "Yes", 0.5),
        (REPORT, "No pneumothorax.", "There is a pneumothorax.", 1.0),
        (REPORT, "There is a nodule.", "There is no nodule.", 0.5),
        (REPORT, "There is a calcification.", "There is no calcification.", 0.0),
        # one finding for another: the higher of both
        ("What is the abnormality?", "nodule", "pneumothorax", 1.0),
        ("What is the abnormality?", "pneumothorax", "nodule", 1.0),
        # an attribute is wrong: half of the finding's grade
        (REPORT, "Right pneumothorax.", "Left pneumothorax.", 0.5),
        (REPORT, "Nodule in the right lung.", "Nodule in the left lung.", 0.25),
        (REPORT, "Left atelectasis.", "Right atelectasis.", 0.125),
        (REPORT, "Upper zone nodule.", "Lower zone nodule.", 0.25),
        # zones next to each other: nothing
        (REPORT, "Upper zone nodule.", "Middle zone nodule.", 0.0),
        # small: a lower grade (0.5 and 0.25), and the higher of both sides
        (REPORT, "No pneumothorax.", "There is a small pneumothorax.", 0.5),
        (REPORT, "No effusion.", "There is a small effusion.", 0.25),
        (REPORT, "Large pneumothorax.", "Small pneumothorax.", 0.5),
        # the finding that the question names
        ("Where is the pneumothorax?", "left", "right", 0.5),
        # no finding: the study
        ("What modality is this?", "CT", "MRI", 0.25),
        ("Which plane is this?", "axial", "coronal", 0.25),
    ],
)
def test_significance_by_hand(question: str, reference: str, answer: str, score: float) -> None:
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    assert edit.verdict == "wrong"
    assert significance(question, answer, edit) == score


def test_the_worst_error_counts() -> None:
    reference = "Left pneumothorax. Left nodule."
    answer = "Right pneumothorax. Right nodule."
    edit = FindingsEditor().edit(REPORT, reference, answer, seed=0)
    assert max(significance(REPORT, answer[s.start : s.end], s) for s in edit.sentences) == 0.5


def test_the_scale_and_its_version_are_recorded() -> None:
    edit = FindingsEditor().edit("Is there atelectasis?", "No", "Yes", seed=0)
    assert score_relevance("severity", "Is there atelectasis?", "Yes", edit) == (1.0, "")
    assert score_relevance("significance", "Is there atelectasis?", "Yes", edit) == (
        0.25,
        f"relevance=significance/{grades().version}",
    )


def test_every_finding_has_a_grade() -> None:
    assert set(ontology().findings) - set(grades().findings) == set()
    assert set(grades().findings) - set(ontology().findings) == set()
    for finding, attribute, value in grades().exceptions:
        assert finding in grades().findings
        assert value in ontology().attributes[attribute].forms
