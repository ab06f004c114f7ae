"""Phantoms that are reported on in paragraphs: drawn as they are, and described as they are."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from medray.phantom.dataset import write_dataset
from medray.phantom.paragraphs import ChestTruth, study
from medray.phantom.paragraphs.grammar import is_worded
from medray.phantom.paragraphs.reading import Claim, claims, read_report, sentences
from medray.phantom.paragraphs.render import draw_placement, render_chest
from medray.phantom.paragraphs.study import exchanges, study_truth
from medray.phantom.paragraphs.truth import DENSITIES
from medray.phantom.studies.render import IMAGE_SIZE, draw_geometry
from medray.phantom.studies.truth import stream
from medray.phantom.styles import STYLES

CHEST = ChestTruth(
    kind="nodule",
    heart="enlarged",
    side="left",
    zone="upper",
    size="small",
    density="dense",
    device="line",
    device_side="right",
    bones="fracture",
    bones_side="right",
)


def digest(count: int) -> str:
    found = hashlib.sha256()
    for index in range(count):
        phantom = study(3, "train", index)
        found.update(phantom.image.tobytes())
        found.update(repr((phantom.truth, phantom.regions, phantom.exchanges)).encode())
    return found.hexdigest()


def drawn(truth: ChestTruth, index: int = 0, **options: bool) -> tuple[np.ndarray, dict]:
    geometry = draw_geometry(stream(0, "t", index, "image"))
    return render_chest(truth, geometry, draw_placement(stream(0, "t", index, "d")), **options)


def verdicts(truth: ChestTruth, answer: str, question: str = "") -> list[bool | None]:
    """Of every sentence: true, false, or None if it is not read."""
    known = truth.attributes()
    found = [claims(sentence, question) for sentence in sentences(answer)]
    return [None if c is None else all(claim.holds(known) for claim in c) for c in found]


def test_a_study_is_the_same_in_another_process_with_another_hash_seed():
    program = "from tests.unit.phantom.test_paragraphs import digest; print(digest(5))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "12345", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(5)


@pytest.mark.parametrize("index", range(30))
def test_what_has_a_box_is_drawn_in_it_and_on_its_side(index):
    truth = study_truth(1, "train", index)
    image, boxes = drawn(truth, index)
    names = {"line": "central line", "tube": "chest tube"}
    sides = {truth.kind: truth.side, "fracture": truth.bones_side}
    sides |= {names.get(truth.device, ""): truth.device_side}
    assert set(boxes) == {name for name, side in sides.items() if side}
    for name, (x0, y0, x1, y1) in boxes.items():
        assert 0 <= x0 < x1 <= IMAGE_SIZE
        assert 0 <= y0 < y1 <= IMAGE_SIZE
        # the patient's left is on the right of the image; a line ends in the middle
        top = image[y0 : max(y0 + 1, 3), x0:x1, 0] if name == "central line" else None
        middle = (x0 + x1) / 2 if top is None else x0 + top.max(axis=0).argmax()
        assert (middle > IMAGE_SIZE / 2) == (sides[name] == "left")


@pytest.mark.parametrize(
    ("attribute", "other"),
    [("device", "tube"), ("device_side", "left"), ("bones_side", "left"), ("density", "faint")],
)
def test_every_attribute_is_seen(attribute, other):
    image, _ = drawn(CHEST)
    changed, _ = drawn(replace(CHEST, **{attribute: other}))
    assert np.abs(image.astype(int) - changed).max() > 50


def test_a_chest_without_its_lesion_differs_in_its_box_only():
    with_lesion, boxes = drawn(CHEST)
    without, same = drawn(CHEST, lesion=False)
    x0, y0, x1, y1 = boxes["nodule"]
    changed = (with_lesion != without).any(axis=2)
    assert boxes == same
    assert changed[y0:y1, x0:x1].any()
    changed[y0:y1, x0:x1] = False
    assert not changed.any()


def test_reports_have_four_to_seven_sentences_in_many_orders():
    counts, openings = [], set()
    for index in range(400):
        text = study(1, "train", index).report
        counts.append(len(sentences(text)))
        openings.add(tuple(sentence.split()[0] for sentence in sentences(text)))
    assert set(counts) == {4, 5, 6, 7}
    assert min(map(counts.count, (4, 5, 6, 7))) > 60
    assert len(openings) > 200


def test_every_sentence_is_read_is_true_and_is_one_of_the_wordings():
    for index in range(500):
        truth = study_truth(2, "train", index)
        for exchange in exchanges(2, "train", index, truth, truth):
            found = verdicts(truth, exchange.answer, exchange.question)
            assert set(found) == {True}, exchange
            assert all(map(is_worded, sentences(exchange.answer))), exchange


@pytest.mark.parametrize(
    ("attribute", "other"),
    [
        ("kind", "opacity"),
        ("side", "right"),
        ("zone", "lower"),
        ("size", "large"),
        ("density", "faint"),
        ("heart", "normal"),
        ("device", "tube"),
        ("device_side", "left"),
        ("bones_side", "left"),
    ],
)
def test_a_flipped_attribute_is_false_wherever_it_is_stated(attribute, other):
    """Where the sentence of the flipped study differs from the true one, it is false."""
    flipped = replace(CHEST, **{attribute: other})
    different = 0
    for index in range(200):
        true, false = (
            exchanges(0, "t", index, CHEST, truth)[0].answer for truth in (CHEST, flipped)
        )
        for ours, theirs, verdict in zip(
            sentences(true), sentences(false), verdicts(CHEST, false), strict=True
        ):
            assert verdict is (ours == theirs)
            different += ours != theirs
    assert different > 100


def test_the_first_mention_counts_and_what_is_missing_is_missing():
    text = "There is cardiomegaly. No fracture is seen. A left chest tube is in place."
    expected = {"heart": "enlarged", "device": "tube", "device_side": "left", "bones": "intact"}
    assert read_report(text + " A right central line is seen.") == expected


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("There is a small nodule in the left upper zone and an enlarged heart.", True),
        ("There is a small nodule in the left upper zone with a normal heart.", False),
        ("The lesion is not on the right side.", True),
        ("The lesion is not on the left side.", False),
        ("No pleural effusion is seen.", True),
        ("There is a pneumothorax.", False),
        ("No large nodule is seen.", True),
        ("In summary, this is a normal study.", False),
        ("A left central line is seen.", False),
        ("No central line is seen.", False),
        ("A line or tube is present.", True),
        ("There is no line or tube.", False),
        ("Impression: cardiomegaly without focal lesion.", False),
        # out of the grammar: never taken for true
        ("The nodule suggests pneumonia.", None),
        ("The adjacent left lung is compressed by the nodule.", None),
        ("A left clavicle nodule is seen.", None),
        ("There is a small small nodule.", None),
        ("A nodule is seen in the left right lung.", None),
        ("The sky is blue.", None),
    ],
)
def test_sentences_are_judged_as_by_hand(sentence, verdict):
    assert verdicts(CHEST, sentence) == [verdict]


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("Is there a nodule?", "Yes.", True),
        ("Is there a nodule?", "No.", False),
        ("Is the lesion on the right side?", "No, the lesion is on the left side.", True),
        ("Is the lesion on the right side?", "Yes, the lesion is on the left side.", False),
        ("Is the central line on the left side?", "No.", True),
        ("Is there a fracture?", "No, the bones are intact.", False),
        ("", "Yes, the heart is enlarged.", None),
    ],
)
def test_a_yes_or_no_claims_what_the_question_asks(question, answer, verdict):
    assert verdicts(CHEST, answer, question) == [verdict]


def test_a_denied_conjunction_holds_if_one_value_is_another():
    claim = Claim((("kind", "nodule"), ("side", "right")), denied=True)
    assert claim.holds(CHEST.attributes())
    assert not replace(claim, values=(("kind", "nodule"),)).holds(CHEST.attributes())


def test_a_prior_names_values_of_its_style():
    for style in STYLES.values():
        assert all({*pair} <= {*style.values[name]} for name, pair in style.prior.items())
    assert set(DENSITIES) == set(STYLES["paragraphs"].values["density"])


def test_a_dataset_of_paragraphs_is_the_same_every_time(tmp_path):
    for name in ("one", "two"):
        write_dataset(tmp_path / name, seed=4, n_train=3, n_heldout=1, style="paragraphs")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert all(
        (tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files
    )
    rows = [json.loads(line) for line in (tmp_path / "one/records.jsonl").open()]
    assert len(rows) == 12
    assert json.loads((tmp_path / "one/dataset.json").read_text())["style"] == "paragraphs"
    assert all(row["truth"]["bones"] and row["truth"]["device"] for row in rows)
