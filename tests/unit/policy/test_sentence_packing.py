"""Pairs of sentences as arrays: sampled tokens before them, nothing behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.editing.alignment import decode
from medray.errors import ItemError
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import resolve_model_path
from medray.policy.packing import pack_sentence
from medray.records import Pair, Response, Span

PROMPT = np.arange(20)
SENTENCES = (
    "The lungs show a small left nodule.",
    "The heart is enlarged!",
    "Zwei Dinge: é, 肺 \U0001fac1.",
    "No effusion is seen",
)
GAPS = (" ", "\n", "\n\n", "  ", " \n- ")


@pytest.fixture(scope="module", params=["phantom/base", "tiny_llava", "tiny_qwen2_5_vl"])
def codec(request):
    if request.param == "phantom/base":
        return ChatCodec(resolve_model_path(request.param))
    return ChatCodec(request.getfixturevalue(request.param))


def sampled(codec, text, *, merged: bool, given_tokens: int = 0) -> Response:
    """The tokenizer's own tokens, or a character at a time: a policy may sample either."""
    encode = codec.tokenizer.encode
    parts = [text] if merged else list(text)
    ids = [i for part in parts for i in encode(part, add_special_tokens=False)]
    ids.append(codec.eos_id)
    logps = tuple(-0.5 * n for n in range(len(ids)))
    return Response("i", "c", 0, text, tuple(ids), logps, True, given_tokens)


def sentence_pair(sentence: str, word: tuple[int, int], right: bool) -> Pair:
    """`sentence` against itself with other words at `word`."""
    start, end = word
    other = sentence[:start] + "xyz" + sentence[end:]
    spans = [(Span(start, stop, "kind", 0.9, ""),) for stop in (end, start + 3)]
    sides = (sentence, other) if right else (other, sentence)
    marks = (spans[0], spans[1]) if right else (spans[1], spans[0])
    return Pair("i.1", "i", "c", 0, *sides, *marks, right, 1.0, "e", scope="sentence", sentence=1)


def answer_of(data) -> tuple[str, str, int]:
    """An answer of several sentences, one of them, and the character at which that begins."""
    parts = data.draw(st.lists(st.sampled_from(SENTENCES), min_size=2, max_size=5))
    number = data.draw(st.integers(0, len(parts) - 1))
    text, start = "", 0
    for n, part in enumerate(parts):
        text += data.draw(st.sampled_from(GAPS)) if n else ""
        start = len(text) if n == number else start
        text += part
    return text, parts[number], start


@given(data=st.data(), merged=st.booleans(), right=st.booleans())
def test_both_sides_stand_behind_the_sampled_tokens(codec, data, merged, right):
    text, sentence, start = answer_of(data)
    blanks = [n for n, character in enumerate(sentence) if character == " "]
    word = data.draw(st.sampled_from(blanks)) + 1, len(sentence) - 1
    pair = sentence_pair(sentence, word, right)
    response = sampled(codec, text, merged=merged)
    packed = pack_sentence(codec, pair, response, start, PROMPT, "x", "", context=10_000)
    prefix = packed.prefix_ids.tolist()
    own = packed.side("chosen" if right else "rejected")
    behind = slice(len(prefix), len(prefix) + len(own.ids))
    assert prefix == list(response.token_ids[: len(prefix)])
    assert own.ids.tolist() == list(response.token_ids[behind])
    assert own.behaviour is not None
    assert own.behaviour.tolist() == list(response.token_logps[behind])
    for side, side_text in ((packed.chosen, pair.chosen), (packed.rejected, pair.rejected)):
        joined = decode(codec.tokenizer, [*prefix, *side.ids.tolist()])
        assert joined.rstrip() == text[:start] + side_text
        if merged and side_text.isascii():  # no character is of several tokens
            assert "".join(side_text[a:b] for a, b in side.offsets) == side_text
        assert {i for a, b in side.offsets for i in range(a, b)} == {*range(len(side_text))}
        assert len(side.offsets) == len(side.ids)
        assert side.edited.any()
        assert codec.eos_id not in side.ids
    unchanged = decode(codec.tokenizer, [*prefix, *own.ids[: int(np.argmax(own.edited))].tolist()])
    assert (text[:start] + sentence[: word[0]]).startswith(unchanged.rstrip("\ufffd"))
    assert np.array_equal(packed.context_ids, [*PROMPT, *prefix])


TWO = "The heart is normal. A left nodule is seen. It is small."


def second(codec, **changes):
    response = replace(sampled(codec, TWO, merged=True), **changes)
    pair = sentence_pair("A left nodule is seen.", (2, 6), right=False)
    return pair, response, TWO.index("A left")


def test_a_given_beginning_is_no_side_of_a_pair(codec):
    pair, response, start = second(codec)
    before = len(codec.tokenizer.encode(TWO[: start + 6], add_special_tokens=False))
    response = replace(response, given=before)
    with pytest.raises(ItemError) as raised:
        pack_sentence(codec, pair, response, start, PROMPT, "x", "", context=500)
    assert raised.value.reason == "alignment-failed"


def test_a_sentence_that_shares_its_last_token_is_not_cut(codec):
    """As if a vocabulary had ". It" as one token: the pair would teach what follows."""
    pair, response, start = second(codec)
    short = replace(pair, rejected=pair.rejected[:-3])  # ends inside the token of "seen"
    ids = list(response.token_ids)
    if any(decode(codec.tokenizer, [i]).strip() == "se" for i in ids):
        pytest.skip("this tokenizer splits the word there")
    with pytest.raises(ItemError) as raised:
        pack_sentence(codec, short, response, start, PROMPT, "x", "", context=500)
    assert raised.value.reason == "alignment-failed"


def test_a_pair_that_exceeds_the_context_is_dropped(codec):
    pair, response, start = second(codec)
    with pytest.raises(ItemError) as raised:
        pack_sentence(codec, pair, response, start, PROMPT, "x", "", context=25)
    assert raised.value.reason == "pair-too-long"
