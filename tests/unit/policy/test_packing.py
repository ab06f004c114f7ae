"""Pairs as arrays, from real edits of phantom-like answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medray.data.pairs.differences import differences
from medray.editing import FindingsEditor
from medray.editing.alignment import decode, token_offsets
from medray.errors import ItemError
from medray.policy.model.chat import ChatCodec
from medray.policy.packing import pack_given, pack_pair, pack_reference, sampled_side, written_side
from medray.records import Pair, Response, Span

REPORT = "Describe the chest radiograph."
LESION = "There is a small nodule in the left upper zone. The heart size is normal."
# question, reference, answer, verdict
EDITS = [
    (REPORT, LESION, "There is a large nodule in the right upper zone. Enlarged heart.", "wrong"),
    (REPORT, LESION, "Both lungs are clear. Heart size is within normal limits.", "wrong"),
    (REPORT, LESION, "Small left pleural effusion. Normal heart size.", "wrong"),
    (REPORT, LESION, "Small left upper zone nodule. Normal heart size.", "right"),
    (REPORT, LESION, LESION, "right"),
    ("Is there a nodule?", "No", "Yes", "wrong"),
    ("Is there a nodule?", "Yes", "yes", "right"),
    ("Is the trachea midline?", "no", "Yes, the trachea is midline.", "wrong"),
    ("Which side is the lesion on?", "Left", "The lesion is on the right side.", "wrong"),
]
PROMPT = np.arange(20)


@pytest.fixture(scope="module")
def codec(tiny_llava):
    return ChatCodec(tiny_llava)


def sampled(codec, text, *, finished=True):
    """Tokens as they might be sampled: byte by byte, unlike what the tokenizer would merge."""
    ids = [i for c in text for i in codec.tokenizer.encode(c, add_special_tokens=False)]
    ids += [codec.eos_id] if finished else []
    return Response("i", "c", 0, text, tuple(ids), (0.0,) * len(ids), finished)


def make_pair(question, reference, answer):
    """The pair of an edit: the answer on one side, the editor's text on the other."""
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    right = edit.verdict == "right"
    sides = (answer, edit.answer_spans), (edit.text, edit.text_spans)
    chosen, rejected = sides if right else sides[::-1]
    pair = Pair(
        pair_id="i",
        item_id="i",
        case_id="c",
        policy_version=0,
        chosen=chosen[0],
        rejected=rejected[0],
        chosen_spans=chosen[1],
        rejected_spans=rejected[1],
        response_was_correct=right,
        relevance=1.1,
        editor="findings/1",
    )
    return pair, edit.verdict


def pack(codec, pair, response, context=500):
    return pack_pair(codec, pair, response, PROMPT, ("image",), ("corrupted",), context=context)


@pytest.mark.parametrize(("question", "reference", "answer", "verdict"), EDITS)
@pytest.mark.parametrize("finished", [True, False])
def test_real_edits_are_packed_exactly(codec, question, reference, answer, verdict, finished):
    pair, judged = make_pair(question, reference, answer)
    assert judged == verdict
    response = sampled(codec, answer, finished=finished)
    packed = pack(codec, pair, response)
    own = packed.side("chosen" if verdict == "right" else "rejected")
    assert own.ids.tolist() == list(response.token_ids)
    for side, text, spans in (
        (packed.chosen, pair.chosen, pair.chosen_spans),
        (packed.rejected, pair.rejected, pair.rejected_spans),
    ):
        assert decode(codec.tokenizer, side.ids) == text
        assert (side.ids[-1] == codec.eos_id) == finished
        assert (side.ids == codec.eos_id).sum() == finished
        assert (side.ids.dtype, side.edited.dtype) == (np.int64, np.bool_)
        assert side.edited.tolist() == naive_mask(codec, side.ids, text, spans)
        assert side.edited.any()
        assert side.offsets is not None
        assert side.offsets.tolist() == [
            list(range_) for range_ in token_offsets(codec.tokenizer, side.ids.tolist(), text)
        ]
        assert "".join(text[a:b] for a, b in side.offsets) == text
    assert (packed.pair_id, packed.relevance) == ("i", 1.1)
    assert (packed.image_keys, packed.corrupted_keys) == (("image",), ("corrupted",))
    assert packed.prompt_ids is PROMPT


def test_the_reference_answer_is_the_chosen_side(codec):
    """For objectives that imitate: no edit needed, its turn ended, no y−."""
    pair = Pair("i", "i", "c", 0, LESION, "", (), (), None, 1.0, "reference")
    packed = pack_reference(codec, pair, PROMPT, ("image",), context=500)
    assert decode(codec.tokenizer, packed.chosen.ids) == LESION
    assert packed.chosen.ids[-1] == codec.eos_id
    assert len(packed.rejected.ids) == 0
    assert not packed.chosen.edited.any()
    assert packed.corrupted_keys == ()
    with pytest.raises(ItemError, match="pair-too-long"):
        pack_reference(codec, pair, PROMPT, ("image",), context=30)


def test_both_sides_of_a_pair_made_elsewhere_are_encoded(codec):
    """Neither was sampled; the tokens in which they differ are the edited ones."""
    chosen, rejected = "A nodule in the left lung.", "A nodule in the right upper lung."
    pair = Pair("i", "i", "c", 0, chosen, rejected, *differences(chosen, rejected), None, 1.1, "g")
    packed = pack_given(codec, pair, PROMPT, ("image",), ("other",), context=500)
    for name, text, edited in (("chosen", chosen, "left"), ("rejected", rejected, "right upper")):
        side = packed.side(name)
        assert side.behaviour is None
        assert decode(codec.tokenizer, side.ids) == text
        assert side.ids[-1] == codec.eos_id
        assert edited in decode(codec.tokenizer, side.ids[side.edited])
        assert not side.edited[0]
    assert (packed.image_keys, packed.corrupted_keys) == (("image",), ("other",))
    assert packed.relevance == 1.1
    with pytest.raises(ItemError, match="pair-too-long"):
        pack_given(codec, pair, PROMPT, ("image",), (), context=30)


def naive_mask(codec, ids, text, spans):
    """Byte by byte: a token is edited if it has a byte of an edited character.

    If a span is empty (the other side inserted something), the edited token is the one with the
    next byte, or the end of turn.
    """
    starts = np.cumsum([0, *(len(c.encode()) for c in text)])
    edited, insertions = set(), set()
    for span in spans:
        if span.start == span.end:
            insertions.add(int(starts[span.start]))
        edited |= set(range(int(starts[span.start]), int(starts[span.end])))
    mask, done = [], 0
    for token in ids:
        size = 0
        if token != codec.eos_id:
            size = len(codec.tokenizer.convert_ids_to_tokens(int(token)))  # one sign per byte
        end = done + size
        inserted = any(done <= j < end or (size == 0 and j == done) for j in insertions)
        mask.append(bool(edited & set(range(done, end))) or inserted)
        done = end
    assert done == starts[-1]
    return mask


@pytest.mark.parametrize(("question", "reference", "answer", "verdict"), EDITS)
def test_masks_cover_the_edited_characters_and_little_else(
    codec, question, reference, answer, verdict
):
    pair, _ = make_pair(question, reference, answer)
    packed = pack(codec, pair, sampled(codec, answer))
    for side, text, spans in (
        (packed.chosen, pair.chosen, pair.chosen_spans),
        (packed.rejected, pair.rejected, pair.rejected_spans),
    ):
        offsets = token_offsets(codec.tokenizer, side.ids.tolist(), text)
        covered = {
            c for (a, b), e in zip(offsets, side.edited, strict=True) if e for c in range(a, b)
        }
        wanted = {c for s in spans for c in range(s.start, s.end)}
        assert wanted <= covered
    # The sampled side has one character per token here: only the spans are covered.
    own = packed.side("chosen" if verdict == "right" else "rejected")
    spans = pair.chosen_spans if verdict == "right" else pair.rejected_spans
    wanted = sum(s.end - s.start for s in spans)
    empty = len({s.start for s in spans if s.start == s.end})
    assert int(own.edited.sum()) == wanted + empty


def test_characters_of_several_bytes_are_edited_completely(codec):
    """A span inside multi-byte text marks every byte token of its characters."""
    side = sampled_side(codec, sampled(codec, "Läsion µ 左"), [Span(9, 10, "side", 1.0, "")])
    offsets = token_offsets(codec.tokenizer, side.ids.tolist(), "Läsion µ 左")
    assert [o for o, e in zip(offsets, side.edited, strict=True) if e] == [(9, 10)] * 3


def test_a_deletion_at_the_end_marks_the_end_of_turn(codec):
    side = written_side(codec, "Yes", [Span(3, 3, "x", 1.0, "")], finished=True)
    assert side.edited.tolist() == [False] * (len(side.ids) - 1) + [True]
    with pytest.raises(ItemError) as caught:
        written_side(codec, "Yes", [Span(3, 3, "x", 1.0, "")], finished=False)
    assert caught.value.reason == "edit-mask-empty"


def test_a_pair_that_is_too_long_is_refused(codec):
    pair, _ = make_pair(*EDITS[0][:3])
    response = sampled(codec, EDITS[0][2])
    longest = max(len(pack(codec, pair, response).side(s).ids) for s in ("chosen", "rejected"))
    pack(codec, pair, response, context=len(PROMPT) + longest)
    with pytest.raises(ItemError) as caught:
        pack(codec, pair, response, context=len(PROMPT) + longest - 1)
    assert caught.value.reason == "pair-too-long"


@pytest.mark.parametrize("side", ["chosen_spans", "rejected_spans"])
def test_a_side_without_spans_has_an_empty_mask(codec, side):
    pair, _ = make_pair(*EDITS[0][:3])
    with pytest.raises(ItemError) as caught:
        pack(codec, replace(pair, **{side: ()}), sampled(codec, EDITS[0][2]))
    assert caught.value.reason == "edit-mask-empty"


def test_tokens_that_do_not_spell_the_text_fail_the_alignment(codec):
    pair, _ = make_pair(*EDITS[0][:3])
    response = replace(sampled(codec, EDITS[0][2]), token_ids=(41, 42, codec.eos_id))
    with pytest.raises(ItemError) as caught:
        pack(codec, pair, response)
    assert caught.value.reason == "alignment-failed"
