"""Where the sentences of an answer begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.editing.sentences import sentence_at, split


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Clear lungs. No effusion.", ["Clear lungs.", "No effusion."]),
        ("Seen by Dr. Smith. A cyst.", ["Seen by Dr. Smith.", "A cyst."]),
        ("A mass, e.g. a cyst, is seen.", ["A mass, e.g. a cyst, is seen."]),
        ("It is 5.6 cm vs. 4 cm before.", ["It is 5.6 cm vs. 4 cm before."]),
        ("The line is at No. 3. Clear.", ["The line is at No. 3.", "Clear."]),
        ("Grade 2. The end", ["Grade 2.", "The end"]),
        ("U.S. scan shows a cyst.", ["U.S. scan shows a cyst."]),
        ("What? Yes! OK", ["What?", "Yes!", "OK"]),
        ('The "sail sign." is seen.', ['The "sail sign." is seen.']),
        ("It is normal. however, no", ["It is normal.", "however, no"]),
        ("1. Left effusion.\n2. Right nodule", ["Left effusion.", "Right nodule"]),
        ("It shows: 1. A cyst 2. A mass. Clear", ["It shows:", "A cyst", "A mass.", "Clear"]),
        ("- one\n* two\n• three", ["one", "two", "three"]),
        ("FINDINGS: The lungs are clear.", ["The lungs are clear."]),
        ("FINDINGS:\nClear lungs.\nIMPRESSION: Normal.", ["Clear lungs.", "Normal."]),
        ("Impression\nNo disease", ["No disease"]),
        ("**Findings:** The heart is large.", ["The heart is large."]),
        ("Human: No, it is midline.", ["No, it is midline."]),
        ("Final answer: Yes.", ["Yes."]),
        ("Yes: it is.", ["Yes: it is."]),
        ("The answer is B. Coronal", ["The answer is B. Coronal"]),
        ("A) Pneumonia", ["A) Pneumonia"]),
        ("  one  \n\n two ", ["one", "two"]),
        (" \n.?!", []),
        ("", []),
    ],
)
def test_it_splits(text: str, sentences: list[str]) -> None:
    assert [text[s.start : s.end] for s in split(text)] == sentences


@given(st.text(alphabet=st.sampled_from("aB1. ,:;!?\n-*()\"'é🫁"), max_size=60))
def test_sentences_are_in_order_without_blanks_and_hold_every_word(text: str) -> None:
    parts = split(text)
    assert [part.number for part in parts] == list(range(len(parts)))
    position = 0
    for part in parts:
        assert position <= part.start < part.end <= len(text)
        assert text[part.start : part.end] == text[part.start : part.end].strip()
        position = part.end
    assert all(sentence_at(parts, part.start) == part for part in parts)
