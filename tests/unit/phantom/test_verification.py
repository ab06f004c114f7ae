"""A run's pairs against the truth, as by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from medray.config import load_config
from medray.data.dataset import open_dataset
from medray.errors import UserError
from medray.ledger import Ledger
from medray.phantom.dataset import write_dataset
from medray.phantom.paragraphs.reading import claims
from medray.phantom.verification import Verification, contradict, verify_pair, verify_run
from medray.records import Pair, PairScore, Response
from medray.rundir import RunDirectory
from tests.support.paths import ROOT
from tests.unit.phantom.test_paragraphs import CHEST

QUESTION = "Is the lesion on the right side?"


def verified(chosen: str, rejected: str, prefix: str = "") -> Verification:
    result = Verification()
    row = {"pair_id": "p", "question": QUESTION, "prefix": prefix}
    verify_pair(row | {"chosen": chosen, "rejected": rejected}, CHEST.attributes(), result)
    return result


def test_a_good_pair_has_nothing_to_tell():
    result = verified(
        "The heart is enlarged.", "The heart is normal in size.", "No lesion is seen."
    )
    assert (result.pairs, result.true, result.findings) == (1, 1, [])


@pytest.mark.parametrize(
    ("chosen", "rejected", "prefix", "expected"),
    [
        ("Yes, the lesion is small.", "The heart is normal in size.", "", ["false"]),
        ("The heart is big.", "The heart is normal in size.", "", ["unread", "unworded"]),
        ("Heart enlarged.", "The heart is normal in size.", "", ["unworded"]),
        ("There is cardiomegaly.", "The heart is enlarged.", "", ["rejected_true"]),
        ("There is cardiomegaly.", "The heart is big.", "", ["rejected_unread"]),
        (
            "The left nodule should be followed up with CT.",
            "The right nodule should be followed up with CT.",
            "Small dense nodule in the upper zone of the right lung. ",
            ["unworded", "against_prefix"],
        ),
    ],
)
def test_what_is_wrong_with_a_pair_is_named(chosen, rejected, prefix, expected):
    result = verified(chosen, rejected, prefix)
    assert [what for what, *_ in result.findings] == expected


def test_the_chosen_side_of_a_complete_answer_is_read_sentence_by_sentence():
    result = verified("No, the lesion is small. The heart is normal in size.", "Yes, it is.")
    assert (result.true, result.false) == (1, 1)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("The heart is enlarged.", "The heart is normal in size.", True),
        ("The lungs are clear.", "There is a small nodule.", True),
        ("No focal lesion is seen.", "There is a small nodule.", True),
        ("No pleural effusion is seen.", "Small left pleural effusion.", True),
        ("No pleural effusion is seen.", "There is a small nodule.", False),
        ("There is a small nodule.", "The lesion is on the left side.", False),
        ("A left chest tube is in place.", "There is a chest tube on the right.", True),
        ("A left chest tube is in place.", "There is a right clavicular fracture.", False),
        ("The lungs are clear.", "The lesion is small.", True),
    ],
)
def test_two_sentences_contradict_each_other(one, other, expected):
    (first,), (second,) = claims(one), claims(other)
    assert contradict(first, second) is expected
    assert contradict(second, first) is expected


def a_run(path, **data: str) -> Path:
    """A run directory whose one pair teaches the reference of a report against nonsense."""
    given = [f"data.path={path / 'data'}", f"run.output={path}", "run.name=run"]
    given += [f"data.{name}={value}" for name, value in data.items()]
    write_dataset(path / "data", seed=0, n_train=2, n_heldout=1, style=data.get("style", "short"))
    config = load_config(ROOT / "configs/quickstart.yaml", given)
    RunDirectory(config.run_dir).create(config)
    case = next(c for c in open_dataset(config.data).train if c.answer_type == "report")
    ledger = Ledger(config.run_dir)
    ledger.issue(1, [("i", case)])
    ledger.response(Response("i", case.case_id, 0, case.reference, (1,), (-0.1,), True))
    ledger.trained(
        Pair(
            pair_id="i",
            item_id="i",
            case_id=case.case_id,
            policy_version=0,
            chosen=case.reference,
            rejected="There is a pneumothorax.",
            chosen_spans=(),
            rejected_spans=(),
            response_was_correct=True,
            relevance=1.0,
            editor="findings",
        ),
        PairScore("i", 0.7, -1.0, -1.0, -1.0, -1.0),
    )
    ledger.close_step(1)
    return config.run_dir


def test_a_run_is_verified_against_the_truth_of_its_dataset(tmp_path):
    result = verify_run(a_run(tmp_path, style="paragraphs"))
    assert (result.pairs, result.findings) == (1, [])
    assert 4 <= result.true <= 7


def test_a_run_without_such_truth_is_refused(tmp_path):
    with pytest.raises(UserError, match="paragraphs"):
        verify_run(a_run(tmp_path))
