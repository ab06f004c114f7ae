"""How a step merges its batches, and what a pair keeps from the sampling of its answer."""

from dataclasses import replace

import numpy as np
import pytest

from medray.editing.findings import FindingsEditor
from medray.errors import ItemError
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import resolve_model_path
from medray.policy.packing import PackedBatch, merge_batches, pack_pair, pack_reference
from medray.policy.shares import Share, weigh
from medray.records import Pair, Response
from tests.support.datasets.pairs import phantom_batch

QUESTION, ANSWER = "Is there a nodule?", "Yes."


def test_pairs_are_ordered_by_id_and_relevance_is_normalised_over_all_of_them():
    """0, 0.5, 0.5, 1: mean 1/2, deviation √1/8, so 1 ± √0.1·√2 → clipped to 0.75 and 1.25; 1, 1."""
    drawn, raw = phantom_batch(pairs=4).pairs, (0, 0.5, 0.5, 1)
    given = [replace(pair, relevance=r) for pair, r in zip(drawn, raw, strict=True)]
    batches = [
        PackedBatch(tuple(part), {}) for part in ([given[3], given[0]], [], [given[2], given[1]])
    ]
    relevance = {pair.pair_id: pair.relevance for pair in given}
    every = merge_batches(batches)
    window = Share(weigh(relevance, weighted=True), 4).own(every)
    assert [pair.pair_id for pair in window] == ["p0", "p1", "p2", "p3"]
    assert [pair.relevance for pair in window] == pytest.approx([0.75, 1.0, 1.0, 1.25])
    assert [p.relevance for p in given] == [0, 0.5, 0.5, 1]
    unweighted = Share(weigh(relevance, weighted=False), 4).own(every)
    assert [(p.pair_id, p.relevance) for p in unweighted] == [(f"p{n}", 1.0) for n in range(4)]


@pytest.fixture(scope="module")
def codec():
    return ChatCodec(resolve_model_path("phantom/base"))


def answer(codec, logps: int | None = None) -> Response:
    ids = (*codec.tokenizer.encode(ANSWER, add_special_tokens=False), codec.eos_id)
    token_logps = tuple(-0.25 * n for n in range(len(ids) if logps is None else logps))
    return Response("i", "c", 0, ANSWER, ids, token_logps, finished=True)


def packed(codec, reference: str, response: Response):
    edit = FindingsEditor().edit(QUESTION, reference, ANSWER, seed=0)
    right = edit.verdict == "right"
    sides = (ANSWER, edit.answer_spans), (edit.text, edit.text_spans)
    chosen, rejected = sides if right else sides[::-1]
    pair = Pair("i", "i", "c", 0, chosen[0], rejected[0], chosen[1], rejected[1], right, 1.0, "e")
    return pack_pair(codec, pair, response, np.arange(5), "x", "", context=500)


@pytest.mark.parametrize(("reference", "own"), [("Yes", "chosen"), ("No", "rejected")])
def test_the_sampled_side_keeps_its_log_probabilities(codec, reference, own):
    response = answer(codec)
    pair = packed(codec, reference, response)
    side, other = pair.side(own), pair.side({"chosen": "rejected", "rejected": "chosen"}[own])
    assert side.ids.tolist() == list(response.token_ids)
    assert side.behaviour.dtype == np.float32
    assert side.behaviour.tolist() == list(response.token_logps)
    assert other.behaviour is None


def test_an_answer_without_log_probabilities_gives_a_side_without(codec):
    pair = packed(codec, "No", answer(codec, logps=0))
    assert pair.rejected.behaviour is None
    assert pair.rejected.ids.tolist() == list(answer(codec).token_ids)


def test_log_probabilities_of_other_tokens_are_refused(codec):
    with pytest.raises(ItemError) as caught:
        packed(codec, "No", answer(codec, logps=1))
    assert caught.value.reason == "alignment-failed"


def test_an_imitated_reference_has_no_sampled_log_probabilities(codec):
    pair = Pair("i", "i", "c", 0, "No.", ANSWER, (), (), False, 1.0, "reference")
    imitated = pack_reference(codec, pair, np.arange(5), "x", context=500)
    assert imitated.chosen.behaviour is None
    assert imitated.rejected.behaviour is None
