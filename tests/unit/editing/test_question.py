"""What is read by the light of the question: rankings, opposites, and what is taken for granted."""

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
    asked = ranking(question)
    assert asked is not None
    assert (asked.options, asked.more) == (options, more)


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
def test_questions_that_rank_nothing_they_name(question):
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
    asked = ranking(BIGGER)
    assert asked is not None
    found = ranked(asked, text)
    assert (found.option if found else None) == first


@pytest.mark.parametrize(
    ("question", "text", "said"),
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
def test_a_yes_or_no_by_the_words_of_the_question(question, text, said):
    found = opposite_word(question, text)
    assert (found[0] if found else None) == said


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
def test_a_question_that_is_repeated_is_no_reference(text, kept):
    assert facts("Is it large?", text).reference.text == kept


def test_right_answers_get_a_wrong_variant():
    editor = FindingsEditor()
    made = editor.edit(BIGGER, "Heart", "The heart is larger than the left lung.", seed=0)
    assert (made.verdict, made.text) == ("right", "The heart is smaller than the left lung.")
    made = editor.edit("Does the lung look abnormal?", "Yes", "The lung looks abnormal.", seed=0)
    assert (made.verdict, made.text) == ("right", "The lung looks normal.")
