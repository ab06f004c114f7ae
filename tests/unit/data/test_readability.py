"""What share of a dataset the findings editor can read, by reason."""

from __future__ import annotations

import json

import pytest

from medray.data.readability import readability, tier_of
from medray.records import Case
from tests.support.paths import shared_data


def case(question: str, reference: str) -> Case:
    return Case("a", "a.png", "0", question, reference, "open")


@pytest.mark.parametrize(
    ("question", "reference", "tier"),
    [
        ("Is there a nodule?", "No", "sure"),
        ("Where is the lesion?", "left lung", "sure"),
        ("Describe the image.", "Small left pleural effusion. Normal heart.", "sure"),
        ("Where is the lesion?", "<think>Look.</think><answer>left lung</answer>", "sure"),
        ("Which artery supplies this region?", "fancy artery", "slot"),
        ("Is there a nodule?", " ", "empty-reference"),
        ("图中是否有结节？", "有", "language"),
        ("Is there a nodule?", "Nein", "language"),
        ("¿Hay derrame pleural?", "No", "language"),
        ("Describe the image.", "A nodule cannot be excluded.", "uncertain"),
        ("Why was this done?", "Because of the weather.", "not-comparable"),
    ],
)
def test_how_surely_a_case_can_be_read(question: str, reference: str, tier: str) -> None:
    assert tier_of(case(question, reference)) == tier


def test_the_line_says_how_many_and_why() -> None:
    good, foreign, empty = (case("Is there a nodule?", text) for text in ("No", "Nein", ""))
    assert readability([good] * 4).line() == "can read 100.0% of the training cases"
    assert readability([good] * 5 + [foreign] * 3 + [empty] * 2).line() == (
        "can read 50.0% of the training cases; not: language 30.0%, empty-reference 20.0%"
    )
    assert readability([foreign] * 3).line() == (
        "can read none of the training cases (language 100.0%): the run would make no pair"
    )


def test_a_sample_is_even() -> None:
    cases = [case("Is there a nodule?", "No" if i % 2 else "Nein") for i in range(1001)]
    result = readability(cases, sample=11)
    assert (result.cases, result.sampled) == (1001, 11)
    assert result.unreadable["language"] in (5, 6)
    assert "(11 of 1001 looked at)" in result.line()
    assert readability([]).share == 0.0


@pytest.mark.data
def test_real_datasets_can_be_read() -> None:
    data = shared_data()
    rows = json.loads((data / "vqa_rad/VQA_RAD Dataset Public.json").read_text("utf-8"))
    cases = [case(str(row["question"]), str(row["answer"])) for row in rows]
    result = readability(cases, sample=200)
    assert result.share > 0.9
    assert result.unreadable["language"] == 0
