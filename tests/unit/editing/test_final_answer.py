"""Every editor sees the words of the final answer, and its edit is brought back to the answer."""

from __future__ import annotations

import pytest

from medray.editing import FindingsEditor
from medray.editing.final_answer import edit_final_answer
from medray.records import Edit, EditedSentence, Span
from tests.support.datasets.real_answers import rejected
from tests.support.paths import shared_data

WRAPPERS = [
    *("<answer>{}</answer>", "**Answer:** {}", "<think>Hmm.</think>\n\n{}", "\\boxed{{{}}}"),
    *("```\n{}\n```", "### Final Answer\n{}", "Assistant: {}", "**{}**", "- {}", "{}</s>"),
]
WHERE, NODULE = "Where is the lesion?", "Is there a nodule?"
EDITS = [  # question, reference, answer, edited or opposite text
    (WHERE, "left lung", "The **right** lung.", "The **left** lung."),
    (
        WHERE,
        "left lung",
        "The lesion is in the **right lung**.",
        "The lesion is in the **left lung**.",
    ),
    (WHERE, "left lung", "*Right* lung", "*Left* lung"),
    (WHERE, "left lung", "<b>Right</b> lung", "<b>Left</b> lung"),
    (WHERE, "left lung", "<answer>Right lung</answer>", "<answer>Left lung</answer>"),
    (WHERE, "left lung", r"It is \boxed{\text{right lung}}.", r"It is \boxed{\text{left lung}}."),
    (WHERE, "left lung", "Final answer: right lung", "Final answer: left lung"),
    (WHERE, "left lung", "- It is in the right lung.", "- It is in the left lung."),
    (WHERE, "left lung", "The right lung</s>", "The left lung</s>"),
    (WHERE, "<answer>left lung</answer>", "Right lung", "Left lung"),
    (NODULE, "Yes", "<think>Let me see.</think>\nYes", "<think>Let me see.</think>\nNo"),
    (NODULE, "No", "<think>This is an X-ray.</think> Yes", "<think>This is an X-ray.</think> No"),
    (NODULE, "No", "**Answer:** Yes", "**Answer:** No"),
    (NODULE, "No", "Human: Yes", "Human: No"),
    ("What modality is this?", "CT", "**Answer: MRI**", "**Answer: CT**"),
    (WHERE, "left lung", "<think>\n</think>\n\nRight lung", "<think>\n</think>\n\nLeft lung"),
    (
        WHERE,
        "left lung",
        "I see a chest.\n\n### Answer\nRight",
        "I see a chest.\n\n### Answer\nLeft",
    ),
    (NODULE, "No", '{"answer": "Yes"}', '{"answer": "No"}'),
    (NODULE, "No", "YES", "NO"),
    (NODULE, "Yes", "NO.", "YES."),
    (NODULE, "No", "yes!", "no!"),
    (WHERE, "left lung", "RIGHT LUNG", "LEFT LUNG"),
]
REFUSALS = [
    (NODULE, "No", "<think>There is a nodule.</think> Yes", "<think>There is a nodule.</think> No"),
    (
        NODULE,
        "No",
        "The image shows a nodule.\n**Answer:** Yes",
        "The image shows a nodule.\n**Answer:** No",
    ),
    (
        WHERE,
        "left lung",
        "<think>It is on the right.</think> right lung",
        "<think>It is on the right.</think> left lung",
    ),
    (
        "Was contrast given?",
        "no",
        "<think>Contrast fills it.</think> Yes",
        "<think>Contrast fills it.</think> No",
    ),
]
ABSTENTIONS = [
    (NODULE, "No", "<think>Is there a nodule? I", "no-final-answer"),
    (NODULE, "No", "<answer></answer>", "no-final-answer"),
    (WHERE, "left lung", "The **ri**ght lung", "markup"),
    (NODULE, "No", "<think>有结节</think> Yes", "language"),
    (NODULE, "Nein", "Yes", "language"),
    ("Gibt es einen Rundherd?", "No", "Yes", "language"),
    (NODULE, "No", "Ja", "language"),
    ("图中是否有结节？", "有", "没有", "language"),
    ("Is there pneumothorax?", "Kein Pneumothorax.", "Pneumothorax rechts.", "language"),
    ("Describe the image.", "Pas de pneumothorax.", "Pneumothorax droit.", "language"),
]


@pytest.mark.parametrize(("question", "reference", "answer", "text"), EDITS)
def test_only_the_final_answer_changes(
    question: str, reference: str, answer: str, text: str
) -> None:
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    assert edit.text == text
    parts, position = [], 0
    for old, new in zip(edit.answer_spans, edit.text_spans, strict=True):
        parts += [answer[position : old.start], edit.text[new.start : new.end]]
        position = old.end
    assert "".join([*parts, answer[position:]]) == text


@pytest.mark.parametrize(("question", "reference", "answer", "reason"), ABSTENTIONS)
def test_what_is_not_sure_is_not_edited(
    question: str, reference: str, answer: str, reason: str
) -> None:
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    assert (edit.verdict, edit.reason) == ("abstain", reason)


@pytest.mark.parametrize(("question", "reference", "answer", "text"), REFUSALS)
def test_behind_a_thought_that_states_the_error_it_is_corrected_but_no_pair(
    question: str, reference: str, answer: str, text: str
) -> None:
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    assert (edit.verdict, edit.text, edit.sentences) == ("wrong", text, ())
    assert edit.refusal == "thought-contradicts"


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        (NODULE, "Yes", "<think>There is no nodule.</think> Yes"),
        (WHERE, "left lung", "<think>right or left? right</think> left lung"),
    ],
)
def test_a_right_answer_behind_a_wrong_thought_stays_right(
    question: str, reference: str, answer: str
) -> None:
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    assert (edit.verdict, edit.sentences, edit.refusal) == ("right", (), "thought-contradicts")


def test_a_thought_that_turns_round_does_not_contradict() -> None:
    answer = "<think>No nodule at first sight, but look closer.</think>Yes"
    assert FindingsEditor().edit(NODULE, "Yes", answer, seed=0).verdict == "right"


def test_another_editor_may_read_any_language() -> None:
    def edit(question: str, reference: str, answer: str, start: int) -> Edit:
        spans = (Span(0, 2, "side", 1.0, ""),)
        return Edit("wrong", "左侧", spans, spans)

    assert edit_final_answer(edit, "哪侧？", "左侧", "右侧", english=False).text == "左侧"


def by_sentence(question: str, reference: str, answer: str, start: int) -> Edit:
    """Edits "right" in the second of two sentences."""
    start = answer.index(". ") + 2
    at = answer.index("right", start) - start
    text = answer[start:].replace("right", "left")
    old, new = Span(at, at + 5, "side", 1.0, ""), Span(at, at + 4, "side", 1.0, "")
    return Edit("wrong", sentences=(EditedSentence(1, start, len(answer), text, (old,), (new,)),))


@pytest.mark.parametrize(
    ("answer", "sentence", "text"),
    [
        ("Clear. Effusion right.", "Effusion right.", "Effusion left."),
        ("Clear. **Effusion right.**", "**Effusion right.**", "**Effusion left.**"),
        ("Clear. <b>Effusion</b> right.", "<b>Effusion</b> right.", "<b>Effusion</b> left."),
        ("**Clear.** Effusion **right**.", "Effusion **right**.", "Effusion **left**."),
        ("<think>Look.</think>Clear. Effusion right.", "Effusion right.", "Effusion left."),
        ("Clear. Effusion right.\nUser: More?", "Effusion right.", "Effusion left."),
    ],
)
def test_a_sentence_keeps_its_marks(answer: str, sentence: str, text: str) -> None:
    edit = edit_final_answer(by_sentence, "Where?", "Left.", answer, english=True)
    edited = edit.sentences[0]
    assert answer[edited.start : edited.end] == sentence
    assert edited.text == text
    old, new = edited.answer_spans[0], edited.text_spans[0]
    assert (sentence[old.start : old.end], text[new.start : new.end]) == ("right", "left")


def test_the_first_sentence_and_a_line_break_keep_their_marks() -> None:
    answer = "**No** pneumothorax.<br>Heart is *enlarged*."
    edit = FindingsEditor().edit("Describe.", "Pneumothorax. Normal heart.", answer, seed=0)
    texts = {answer[s.start : s.end]: s.text for s in edit.sentences}
    assert texts["Heart is *enlarged*."].startswith("Heart is *normal")


@pytest.mark.data
def test_a_wrapped_answer_is_edited_as_the_plain_one() -> None:
    answers = rejected(shared_data(), "vqa-rad")[::40]
    plain = [t for t in answers if not set("{}*\n") & set(t[2])]
    assert len(plain) > 30
    editor = FindingsEditor()
    for question, reference, answer in plain:
        expected = editor.edit(question, reference, answer, seed=0)
        for wrapper in WRAPPERS:
            edit = editor.edit(question, reference, wrapper.format(answer), seed=0)
            assert (edit.verdict, edit.reason) == (expected.verdict, expected.reason)
            assert edit.text == (wrapper.format(expected.text) if expected.text else "")
            assert len(edit.sentences) == len(expected.sentences)
