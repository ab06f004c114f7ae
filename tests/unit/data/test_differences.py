"""Where two texts differ, if nobody said so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data.pairs.differences import differences


@pytest.mark.parametrize(
    ("chosen", "rejected", "replaced"),
    [
        ("The left lung.", "The right lung.", [("left", "right")]),
        ("Yes", "No, it is clear.", [("Yes", "No, it is clear.")]),
        ("A nodule.", "A small nodule.", [("", " small")]),
        ("Is it 10 mm?", "Is it 12 mm?", [("10", "12")]),
        ("same", "same", []),
        ("", "all", [("", "all")]),
    ],
)
def test_the_words_that_differ(chosen, rejected, replaced):
    spans = zip(*differences(chosen, rejected), strict=True)
    assert [(chosen[a.start : a.end], rejected[b.start : b.end]) for a, b in spans] == replaced


@given(*[st.text("ab .,\n", max_size=40)] * 2)
def test_replacing_the_spans_makes_one_text_the_other(chosen, rejected):
    text = chosen
    for ours, theirs in reversed(list(zip(*differences(chosen, rejected), strict=True))):
        text = text[: ours.start] + rejected[theirs.start : theirs.end] + text[ours.end :]
    assert text == rejected
