"""Phantom studies: the same everywhere, disjoint between splits, and true to their labels."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from medray.phantom.studies.questions import Question, answer
from medray.phantom.studies.render import IMAGE_SIZE, draw_geometry, render
from medray.phantom.studies.study import study, study_truth
from medray.phantom.studies.truth import KINDS, SIZES, VALUES, Truth, stream
from medray.phantom.studies.wording import read_report, report


def _digest(split: str, count: int) -> str:
    digest = hashlib.sha256()
    for index in range(count):
        phantom = study(3, split, index)
        digest.update(phantom.image.tobytes())
        digest.update(repr((phantom.truth, phantom.regions, phantom.exchanges)).encode())
    return digest.hexdigest()


def test_a_study_is_the_same_in_another_process_with_another_hash_seed():
    program = "from tests.unit.phantom.test_studies import _digest; print(_digest('train', 5))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "12345", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == _digest("train", 5)


def test_streams_of_splits_and_seeds_are_disjoint():
    images = [
        study(seed, split, index).image.tobytes()
        for seed in (0, 1)
        for split in ("train", "heldout", "base")
        for index in range(20)
    ]
    assert len(set(images)) == len(images)


def test_image_is_grey_uint8():
    image = study(0, "train", 0).image
    assert image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert image.dtype == np.uint8
    assert (image[:, :, 0] == image[:, :, 1]).all()
    assert (image[:, :, 0] == image[:, :, 2]).all()


@pytest.mark.parametrize("index", range(60))
def test_lesion_changes_pixels_in_its_box_only(index):
    truth = study_truth(0, "train", index)
    geometry = draw_geometry(stream(0, "train", index, "image"))
    with_lesion, box = render(truth, geometry)
    without, same_box = render(truth, geometry, lesion=False)
    assert box == same_box
    changed = (with_lesion != without).any(axis=2)
    if truth.kind == "none":
        assert box is None
        assert not changed.any()
        return
    x0, y0, x1, y1 = box
    assert 0 <= x0 < x1 <= IMAGE_SIZE
    assert 0 <= y0 < y1 <= IMAGE_SIZE
    inside = np.zeros_like(changed)
    inside[y0:y1, x0:x1] = True
    assert not (changed & ~inside).any()
    assert np.abs(with_lesion.astype(int) - without)[inside].max() > 50


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "none"])
def test_patients_left_is_on_the_right_of_the_image(kind):
    for side, on_the_right in (("left", True), ("right", False)):
        zone = "" if kind == "effusion" else "upper"
        truth = Truth(kind, "normal", side, zone, "small")
        _, (x0, _, x1, _) = render(truth, draw_geometry(stream(0, "t", 0, "image")))
        assert ((x0 + x1) / 2 > IMAGE_SIZE / 2) == on_the_right


def test_large_lesions_are_larger_than_small_ones():
    for index in range(20):
        geometry = draw_geometry(stream(0, "t", index, "image"))
        for kind in KINDS[:4]:
            zone = "" if kind == "effusion" else "middle"
            areas = []
            for size in SIZES:
                _, (x0, y0, x1, y1) = render(Truth(kind, "normal", "left", zone, size), geometry)
                areas.append((x1 - x0) * (y1 - y0))
            assert areas[1] > 1.3 * areas[0]


def test_reports_state_the_truth_and_nothing_else():
    for index in range(400):
        phantom = study(1, "train", index)
        assert read_report(phantom.report) == phantom.truth.attributes()
        assert phantom.report[0].isupper()
        assert phantom.report.endswith(".")


def test_wording_is_independent_of_the_truth():
    """Truths with the same attributes applying get the same templates from the same stream."""
    one = Truth("nodule", "normal", "left", "upper", "small")
    other = Truth("cavity", "normal", "right", "lower", "large")
    swap = {
        "nodule": "cavity",
        "left": "right",
        "upper": "lower",
        "small": "large",
        "Small": "Large",
    }
    for index in range(50):
        text = report(one, stream(0, "t", index, "words"))
        for word, replacement in swap.items():
            text = text.replace(word, replacement)
        assert text == report(other, stream(0, "t", index, "words"))


def test_every_attribute_value_is_common():
    truths = [study_truth(0, "train", index).attributes() for index in range(600)]
    for name, values in VALUES.items():
        seen = [t[name] for t in truths if name in t]
        for value in values:
            assert seen.count(value) > 0.7 * len(seen) / len(values)


def test_closed_questions_are_balanced_and_lesion_questions_need_a_lesion():
    yes = 0
    for index in range(400):
        phantom = study(2, "train", index)
        report_case, closed, opened = phantom.exchanges
        assert (report_case.answer_type, closed.answer_type, opened.answer_type) == (
            "report",
            "closed",
            "open",
        )
        assert closed.answer.split(",")[0] in ("Yes", "No")
        yes += closed.answer.startswith("Yes")
        if phantom.truth.kind == "none":
            assert "the lesion" not in closed.question + opened.question
    assert 140 < yes < 260


@pytest.mark.parametrize(
    ("question", "reported", "answers"),
    [
        (
            Question("Is there a pleural effusion?", "kind", "effusion"),
            Truth("effusion", "normal", "left", "", "small"),
            {"Yes", "Yes, there is a pleural effusion."},
        ),
        (
            Question("Is the heart enlarged?", "heart", "enlarged"),
            Truth("none", "normal"),
            {"No", "No, the heart is normal in size."},
        ),
        (
            Question("Is there a focal lesion?", "lesion"),
            Truth("none", "normal"),
            {"No", "No, no focal lesion is seen."},
        ),
        (
            Question("Which side is the lesion on?", "side"),
            Truth("opacity", "normal", "right", "upper", "large"),
            {"Right", "The lesion is on the right side."},
        ),
        (
            Question("In which zone is the lesion?", "zone"),
            Truth("opacity", "normal", "right", "upper", "large"),
            {"Upper zone", "The lesion is in the upper zone."},
        ),
        (
            Question("What is the abnormality?", "kind"),
            Truth("opacity", "normal", "right", "upper", "large"),
            {"Opacity", "There is an opacity."},
        ),
    ],
)
def test_answers_state_what_is_reported(question, reported, answers):
    assert {answer(question, reported, stream(0, "t", i, "words")) for i in range(40)} == answers
