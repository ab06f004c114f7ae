"""Answers that depend on the question: rankings, opposites, and what it takes for granted."""

from __future__ import annotations

import pytest

from medray.editing import FindingsEditor
from medray.editing.reading.facts import facts
from medray.editing.reading.question import opposite_word
from medray.editing.reading.ranking import ranked, ranking

BIGGER = "Which is bigger in this image, left lung or heart?"


@pytest.mark.parametrize(
    ("question", "options", "more"),
    [
        (BIGGER, ("left lung", "heart"), True),
        (
            "Which is the biggest in this image,lung,liver or heart?",
            ("lung", "liver", "heart"),
            True,
        ),
        ("Which is smaller, the spleen or the small bowel?", ("spleen", "small bowel"), False),
        ("Which side is brighter: left or right?", ("left", "right"), True),
    ],
)
def test_what_a_question_ranks(question, options, more):
    query = ranking(question)
    assert query is not None
    assert (query.options, query.more) == (options, more)


@pytest.mark.parametrize(
    "question",
    [
        "Is the liver bigger than the heart?",
        "Which organ is the largest?",
        "Which side?",
        "",
        "Which",
    ],
)
def test_questions_that_name_nothing_to_rank(question):
    assert ranking(question) is None


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Heart", "heart"),
        ("the left lungs", "left lung"),
        ("The heart is much larger than the left lung.", "heart"),
        ("The heart is smaller compared to the left lung.", "left lung"),
        ("The heart is the biggest.", "heart"),
        ("An X-ray. The left lung is bigger.", "left lung"),
        ("The heart is the smallest.", None),
        ("The heart and the left lung are of equal size.", None),
        ("The heart is not larger than the left lung.", "left lung"),
        ("The heart isn't the largest.", None),
        ("Something is larger.", None),
        ("", None),
    ],
)
def test_what_a_text_puts_first(text, first):
    query = ranking(BIGGER)
    assert query is not None
    found = ranked(query, text)
    assert (found.option if found else None) == first


@pytest.mark.parametrize(
    ("question", "text", "implied"),
    [
        ("Is the lung healthy?", "The lung is healthy.", True),
        ("Is the lung healthy?", "The lungs are unhealthy.", None),  # another word than the lung
        ("Is the lung healthy?", "This lung is diseased.", False),
        ("Is the lung healthy?", "The lung is not healthy.", None),
        ("Is the lung healthy or diseased?", "The lung is healthy.", None),
        ("Is this image normal?", "The scan is abnormal.", False),
        ("Which lung is normal?", "The left lung is normal.", None),
    ],
)
def test_a_word_of_the_question_or_its_opposite_implies_a_yes_or_no(question, text, implied):
    found = opposite_word(question, text)
    assert (found[0] if found else None) == implied


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Question: Is it large?\n\nNo, it is small.", "No, it is small."),
        ("Question: Is it large?\n- Answer 1: Yes\n\nNo", "No"),
        ("Is it large? No", "No"),
        ("Is it large?", "Is it large?"),
        ("It is large.", "It is large."),
    ],
)
def test_a_repeated_question_is_not_part_of_the_reference(text, kept):
    assert facts("Is it large?", text).reference.text == kept


def test_right_answers_get_a_wrong_variant():
    editor = FindingsEditor()
    edit = editor.edit(BIGGER, "Heart", "The heart is larger than the left lung.", seed=0)
    assert (edit.verdict, edit.text) == ("right", "The heart is smaller than the left lung.")
    edit = editor.edit("Does the lung look abnormal?", "Yes", "The lung looks abnormal.", seed=0)
    assert (edit.verdict, edit.text) == ("right", "The lung looks normal.")
