"""The findings editor on paragraphs about phantoms: no chosen side is false, by the known truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from medray.editing.findings import FindingsEditor
from medray.phantom.paragraphs import ChestTruth
from medray.phantom.paragraphs.study import exchanges, study_truth
from medray.phantom.paragraphs.wording import report
from medray.phantom.studies.truth import stream
from medray.phantom.verification import Verification, verify_pair

_STUDIES = 40


def errors(truth: ChestTruth) -> Iterator[ChestTruth]:
    """The truth with one attribute reported as another value, for every attribute that has one."""
    for name, value in truth.attributes().items():
        others = [v for v in truth.values[name] if v not in (value, "none")]
        if name not in ("kind", "bones", "device") and others:
            yield replace(truth, **{name: others[0]})
    intact = truth.bones == "intact"
    yield replace(
        truth, bones="fracture" if intact else "intact", bones_side="left" if intact else ""
    )
    without = {"side": "", "zone": "", "size": "", "density": ""}
    nodule = {"side": "left", "zone": "upper", "size": "small", "density": "dense"}
    if truth.has_lesion:
        yield replace(truth, kind="none", **without)
        yield replace(truth, device="none", device_side="")
    else:
        yield replace(truth, kind="nodule", **nodule)


@pytest.fixture(scope="module")
def verified() -> Verification:
    """All pairs made of reports, each with one error or none, and of right answers."""
    editor, result = FindingsEditor(), Verification()
    for index in range(_STUDIES):
        truth = study_truth(11, "train", index)
        exchanged = exchanges(11, "train", index, truth, truth)
        prompt, reference = exchanged[0].question, exchanged[0].answer
        for number, reported in enumerate((truth, *errors(truth))):
            answer = report(reported, stream(12, "train", index, f"words-{number}"))
            add_pairs(editor, f"{index}-{number}", prompt, reference, answer, truth, result)
        for kind in exchanged[1:]:
            add_pairs(editor, f"{index}", kind.question, kind.answer, kind.answer, truth, result)
    return result


def add_pairs(
    editor: FindingsEditor,
    case: str,
    question: str,
    reference: str,
    answer: str,
    truth: ChestTruth,
    result: Verification,
) -> None:
    """Edit one answer, and verify every pair that comes of it."""
    edit = editor.edit(question, reference, answer, seed=0)
    for part in edit.sentences:
        own = answer[part.start : part.end]
        chosen, rejected = (part.text, own) if edit.verdict == "wrong" else (own, part.text)
        row = {"pair_id": case, "question": question, "prefix": answer[: part.start]}
        row |= {"chosen": chosen, "rejected": rejected}
        verify_pair(row, truth.attributes(), result)


def test_no_chosen_side_is_false(verified):
    assert [f for f in verified.findings if f[0] in ("false", "unread")] == []
    assert verified.true > 10 * _STUDIES


def test_no_rejected_side_is_true(verified):
    assert [f for f in verified.findings if f[0] == "rejected_true"] == []
