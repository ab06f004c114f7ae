"""The editor on real answers of models, checked against its targets."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.support.datasets.real_answers import labelled, measure, rejected

pytestmark = pytest.mark.data


def test_answers_labelled_wrong_are_found_and_corrected(shared_data: Path) -> None:
    figures = measure(labelled(shared_data, correct=False))
    assert figures.comparable.total() > 200
    assert figures.share("wrong", "found") >= 0.9
    assert not figures.unsound


def test_answers_labelled_right_are_left_alone(shared_data: Path) -> None:
    figures = measure(labelled(shared_data, correct=True))
    assert figures.comparable.total() > 500
    assert figures.share("right") >= 0.98
    assert figures.share("wrong", "found") <= 0.02


@pytest.mark.parametrize(("name", "found"), [("vqa-rad", 0.9), ("slake", 0.9)])
def test_long_rejected_answers_are_corrected_in_few_words(
    shared_data: Path, name: str, found: float
) -> None:
    """Some of the rejected sides are not wrong, or only by omission."""
    figures = measure(rejected(shared_data, name))
    assert figures.share("wrong", "found") >= found
    assert figures.share("wrong") >= 0.75  # the guard refuses the others' corrections
    assert not figures.unsound
    assert statistics.median(figures.shares) <= 0.25
