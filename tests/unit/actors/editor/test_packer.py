"""Pairs made elsewhere, and references: what becomes of them without an answer of the policy."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from actors.editor import Packer
from medray.config import ObjectiveConfig
from medray.imaging.load import load_image, pixels_sha256
from medray.records import Case, Dropped, GivenSide, Pair
from tests.support.datasets.phantoms import lesion_report, small_phantoms

CHOSEN = "There is a small nodule in the left upper zone."
REJECTED = "There is a small nodule in the right upper zone."


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_phantoms(tmp_path_factory.mktemp("data") / "phantoms")


@pytest.fixture(scope="module")
def packer(config) -> Packer:
    return Packer(config, 0)


@pytest.fixture
def case(config) -> Case:
    given = GivenSide(REJECTED, score=0.25, response_was_correct=False)
    return replace(lesion_report(config, CHOSEN), given=given)


def outcome(packer: Packer, case: Case):
    made, batch = packer.pack(7, ["item"], [case], load_image(case.image))
    (result,) = made.results
    return result, batch


def test_a_given_pair_keeps_its_texts_and_its_weight(packer, case):
    pair, batch = outcome(packer, case)
    assert isinstance(pair, Pair)
    assert (pair.pair_id, pair.item_id, pair.case_id) == ("item", "item", case.case_id)
    assert (pair.chosen, pair.rejected) == (CHOSEN, REJECTED)
    assert (pair.relevance, pair.policy_version) == (0.25, 7)
    assert pair.response_was_correct is False
    assert [REJECTED[s.start : s.end] for s in pair.rejected_spans] == ["right"]
    packed = batch.pairs[0]
    assert packed.chosen.behaviour is None
    assert packed.rejected.behaviour is None
    assert set(batch.pixels) == {case.image_sha256, pair.corrupted_sha256}


def test_a_case_that_needs_more_memory_than_there_is_is_dropped_alone(packer, case, monkeypatch):
    def starve(*_, **__):
        raise MemoryError

    monkeypatch.setattr("actors.editor.packer.pack_given", starve)
    dropped, batch = outcome(packer, case)
    assert (dropped.reason, batch.pairs) == ("out-of-memory", ())
    monkeypatch.setattr(packer.codec, "load_view", starve)
    assert packer.load([case]) == ([("out-of-memory", ())], None)


def test_its_own_spans_come_first(packer, case):
    given = replace(case.given, chosen_spans=((11, 16),), rejected_spans=((11, 16),))
    pair, _ = outcome(packer, replace(case, given=given))
    assert [CHOSEN[s.start : s.end] for s in pair.chosen_spans] == ["small"]


def test_without_a_score_it_weighs_as_much_as_the_others(packer, case):
    pair, _ = outcome(packer, replace(case, given=GivenSide(REJECTED)))
    assert pair.relevance == 1.0
    assert pair.response_was_correct is None


def test_its_rejected_image_is_what_the_corrupted_branches_see(packer, case, tmp_path):
    """In the size of the image beside it: both must have as many image tokens."""
    other = np.full((20, 30, 3), 77, np.uint8)
    Image.fromarray(other).save(tmp_path / "other.png")
    given = replace(case.given, rejected_image=str(tmp_path / "other.png"))
    pair, batch = outcome(packer, replace(case, given=given))
    shape = load_image(case.image).shape
    assert pair.corrupted_sha256 == pixels_sha256(np.full(shape, 77, np.uint8))
    assert (pair.region_source, pair.corruption) == ("given", "given")
    shapes = {key: array.shape for key, array in batch.pixels.items()}
    assert shapes[pair.corrupted_sha256] == shapes[case.image_sha256]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "no-pair"),
        (GivenSide("  "), "empty-rejected"),
        (GivenSide(CHOSEN), "sides-are-equal"),
        (GivenSide(REJECTED, rejected_image="missing.png"), "image-missing"),
        (GivenSide("word " * 2000), "pair-too-long"),
    ],
)
def test_what_is_no_pair_is_dropped_with_its_reason(packer, case, given, reason):
    dropped, batch = outcome(packer, replace(case, given=given))
    assert dropped == Dropped("item", case.case_id, 7, reason)
    assert not batch.pairs
    assert not batch.pixels


def test_an_objective_that_imitates_gets_the_reference(config, case):
    """sft: no other side, whatever the editor would say about the case."""
    packer = Packer(config.model_copy(update={"objective": ObjectiveConfig(name="sft")}), 0)
    pair, batch = outcome(packer, replace(case, given=None))
    assert (pair.chosen, pair.rejected, pair.editor) == (CHOSEN, "", "reference")
    ids = batch.pairs[0].chosen.ids
    assert packer.codec.tokenizer.decode(ids[:-1]) == CHOSEN
    assert ids[-1] == packer.codec.eos_id
    assert len(batch.pairs[0].rejected.ids) == 0
    assert set(batch.pixels) == {case.image_sha256}
