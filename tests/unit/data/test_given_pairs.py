"""Imported pairs as the cases of a run."""

from pathlib import Path

import pytest

from medray.config import DataConfig
from medray.data.dataset import open_dataset
from medray.data.pairs.base import PreferencePair
from medray.data.tables import write_pairs
from medray.errors import DataError
from medray.records import GivenSide


def pair(number: int, **fields) -> PreferencePair:
    names = {"pair_id": f"p{number}", "image": f"{number}.png", "image_sha256": f"{number}"}
    texts = {"question": "Is there a nodule?", "chosen": "Yes.", "rejected": "No."}
    return PreferencePair(**(names | texts | fields))


def dataset(tmp_path: Path, *pairs: PreferencePair, **keys):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, iter(pairs))
    return open_dataset(DataConfig(kind="pairs", path=str(path), **keys))


def test_all_pairs_are_trained_on(tmp_path):
    spans = {"chosen_spans": ((0, 3),), "rejected_spans": ((0, 2),)}
    first = pair(1, score=0.5, response_was_correct=True, rejected_image="x.png", **spans)
    opened = dataset(tmp_path, first, pair(2, chosen="A nodule."), pair(3))
    assert len(opened.train) == 3
    assert opened.heldout == ()
    cases = {case.case_id: case for case in opened.train}
    case = cases["p1"]
    assert (case.question, case.reference) == ("Is there a nodule?", "Yes.")
    assert case.given == GivenSide(
        "No.", str(Path("x.png").absolute()), ((0, 3),), ((0, 2),), 0.5, True
    )
    assert (case.answer_type, cases["p2"].answer_type) == ("closed", "open")


def test_what_the_file_holds_out_is_not_trained_on(tmp_path):
    opened = dataset(tmp_path, pair(1, split="train"), pair(2, split="heldout"), pair(3))
    assert {case.case_id for case in opened.train} == {"p1", "p3"}
    assert [case.case_id for case in opened.heldout] == ["p2"]


def test_the_digest_knows_both_sides_and_the_score(tmp_path):
    digests = {
        dataset(tmp_path, one).digest
        for one in (pair(1), pair(1, rejected="Never."), pair(1, score=0.1))
    }
    assert len(digests) == 3


def test_an_id_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="pair 'p1' occurs twice"):
        dataset(tmp_path, pair(1), pair(1))


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        open_dataset(DataConfig(kind="pairs", path=str(tmp_path)))


def test_a_file_of_cases_is_refused(tmp_path, phantom_file):
    with pytest.raises(DataError, match="does not hold pairs"):
        open_dataset(DataConfig(kind="pairs", path=str(phantom_file)))


@pytest.fixture
def phantom_file(tmp_path):
    from medray.data.dataset import read_rows
    from medray.data.tables import write_cases
    from medray.phantom.dataset import write_dataset

    write_dataset(tmp_path / "phantoms", seed=0, n_train=1, n_heldout=1)
    out = tmp_path / "cases.parquet"
    write_cases(out, read_rows("phantom", str(tmp_path / "phantoms")))
    return out
