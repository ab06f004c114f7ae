"""Mapping spans to tokens: exact for sampled tokens, however they split bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from medray.editing.alignment import edit_mask, encode_answer, token_offsets
from medray.errors import ItemError
from medray.records import Span


def byte_level() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["There is a small nodule in the left upper zone."] * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", pad_token="<pad>")


def sentencepiece_like() -> PreTrainedTokenizerFast:
    words = ["<unk>", "</s>", "▁left", "▁lung", "▁", "l", "e", "f", "t"]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    raw = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [], unk_token="<unk>"))
    raw.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", unk_token="<unk>")


TOKENIZER = byte_level()
EOS = TOKENIZER.eos_token_id
VOCABULARY = len(TOKENIZER)


def byte_ids(text: str) -> list[int]:
    """The text one byte per token: never the tokenizer's own encoding."""
    alphabet = {ord(c): c for c in map(chr, (*range(33, 127), *range(161, 173), *range(174, 256)))}
    spare = iter(range(256, 512))
    table = {byte: alphabet.get(byte) or chr(next(spare)) for byte in range(256)}
    return [TOKENIZER.convert_tokens_to_ids(table[byte]) for byte in text.encode()]


def test_complete_words_and_the_end_of_turn() -> None:
    text = "There is a small nodule."
    ids = [*encode_answer(TOKENIZER, text), EOS]
    offsets = token_offsets(TOKENIZER, ids, text)
    assert offsets[-1] == (len(text), len(text))
    assert "".join(text[a:b] for a, b in offsets) == text


def test_every_token_of_a_character_gets_that_character() -> None:
    text = "é🫁x"
    assert token_offsets(TOKENIZER, [*byte_ids(text), EOS], text) == [
        (0, 1),
        (0, 1),
        (1, 2),
        (1, 2),
        (1, 2),
        (1, 2),
        (2, 3),
        (3, 3),
    ]


def test_combining_characters_keep_their_own_position() -> None:
    text = "e\u0301a"
    assert token_offsets(TOKENIZER, byte_ids(text), text) == [(0, 1), (1, 2), (1, 2), (2, 3)]


def test_sampled_tokens_may_differ_from_the_canonical_ones() -> None:
    text = "small nodule"
    ids = byte_ids(text)
    assert ids != encode_answer(TOKENIZER, text)
    assert token_offsets(TOKENIZER, ids, text) == [(i, i + 1) for i in range(len(text))]


def test_broken_bytes_that_were_sampled_still_align() -> None:
    ids = [*byte_ids("a"), byte_ids("é")[0], *byte_ids("b")]
    text = "a\ufffdb"
    assert token_offsets(TOKENIZER, ids, text) == [(0, 1), (1, 2), (2, 3)]


def test_a_text_other_than_the_sampled_one_is_refused() -> None:
    ids = encode_answer(TOKENIZER, "small nodule")
    for text in ("small nodul", "small nodules", " small nodule", ""):
        with pytest.raises(ItemError) as caught:
            token_offsets(TOKENIZER, ids, text)
        assert caught.value.reason == "alignment-failed"


def test_an_answer_that_does_not_survive_encoding_is_refused() -> None:
    with pytest.raises(ItemError) as caught:
        encode_answer(TOKENIZER, "nodule</s>small")
    assert caught.value.reason == "alignment-failed"


def test_sentencepiece_blanks_align_or_are_refused() -> None:
    tokenizer = sentencepiece_like()
    ids = tokenizer.convert_tokens_to_ids(["▁left", "▁lung", "▁", "<0xC3>", "<0xA9>", "</s>"])
    text = "left lung é"
    assert token_offsets(tokenizer, ids, text) == [
        (0, 4),
        (4, 9),
        (9, 10),
        (10, 11),
        (10, 11),
        (11, 11),
    ]
    with pytest.raises(ItemError):
        token_offsets(tokenizer, ids, " " + text)


def span(start: int, end: int) -> Span:
    return Span(start, end, "side", 1.0, "")


def test_the_mask_marks_tokens_that_share_characters() -> None:
    offsets = [(0, 5), (5, 10), (10, 14), (14, 14)]
    assert edit_mask(offsets, [span(6, 7)]) == [False, True, False, False]
    assert edit_mask(offsets, [span(4, 6)]) == [True, True, False, False]
    assert edit_mask(offsets, [span(10, 14)]) == [False, False, True, False]
    assert edit_mask(offsets, []) == [False] * 4


def test_an_insertion_marks_the_token_where_the_texts_diverge() -> None:
    offsets = [(0, 5), (5, 10), (10, 14), (14, 14)]
    assert edit_mask(offsets, [span(5, 5)]) == [False, True, False, False]
    assert edit_mask(offsets, [span(7, 7)]) == [False, True, False, False]
    assert edit_mask(offsets, [span(14, 14)]) == [False, False, False, True]
    assert edit_mask(offsets[:3], [span(14, 14)]) == [False] * 3
    assert edit_mask([], [span(0, 0)]) == []


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=20))
def test_any_text_encodes_and_covers_itself(text: str) -> None:
    try:
        ids = [*encode_answer(TOKENIZER, text), EOS]
    except ItemError:  # it contains the text of a special token
        assert "<" in text
        return
    check_cover(token_offsets(TOKENIZER, ids, text), text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=20))
def test_any_sampled_tokens_align_or_are_refused(ids: list[int]) -> None:
    text = TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    with contextlib.suppress(ItemError):
        check_cover(token_offsets(TOKENIZER, ids, text), text)


def check_cover(offsets: list[tuple[int, int]], text: str) -> None:
    """Ranges are in order, without a gap, up to the end; only a shared character occurs twice."""
    position = 0
    for start, end in offsets:
        assert 0 <= start <= end <= len(text)
        assert position - 1 <= start <= position
        position = max(position, end)
    assert position == len(text)
