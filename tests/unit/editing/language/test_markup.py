"""Where the final answer of a marked text is, and its words without marks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.editing.language.markup import final_answer, final_text, unmarked

ANSWERS = {  # a text → its final answer
    "Right lung": "Right lung",
    " Yes, there is. ": " Yes, there is. ",
    "": "",
    # thoughts
    "<think>Left? No.</think>Right": "Right",
    "<THINKING>\nLeft?\n</THINKING>\n\nRight lung.\n": "Right lung.",
    "Left? No, it is right.</think> Right": "Right",
    "<think>a</think><think>b</think>Right": "Right",
    "[THINK]Left?[/THINK]Right": "Right",
    "◁think▷Left?◁/think▷Right": "Right",
    "<unused94>thought\nLeft?<unused95>Right": "Right",
    "<|begin_of_thought|>x<|end_of_thought|><|begin_of_solution|>Right<|end_of_solution|>": "Right",
    "## Thinking\n\nLeft?\n\n## Final Response\n\nRight": "Right",
    # tags
    "<answer>Right</answer>": "Right",
    "<think>x</think>\n<answer> Right </answer>": "Right",
    "<answer>Right": "Right",
    "It is right. </answer>": "It is right.",
    "<answer>Left</answer> Wait. <answer>Right</answer>": "Right",
    "<SUMMARY>s</SUMMARY><REASONING>r</REASONING><CONCLUSION>Right</CONCLUSION>": "Right",
    # boxes
    r"\boxed{Right}": "Right",
    r"So the answer is $\boxed{\text{right lung}}$.": "right lung",
    r"\boxed{Left} is wrong, so \boxed{Right}": "Right",
    r"<think>\boxed{Left}</think> \boxed{Right}": "Right",
    # headings
    "Final answer: Right": "Right",
    "I see a mass. **Final Answer:** Right": "Right",
    "**Answer:** Right": "Right",
    "**Answer**: Right": "Right",
    "### Answer\nRight": "Right",
    "### Answer: Right": "Right",
    "Reasoning: x\n\n**Final Answer**\n\nRight": "Right",
    "The mass is there. So the final answer is: Right": "Right",
    "Final diagnosis: Pneumonia": "Pneumonia",
    # speakers
    "Human: Right": "Right",
    "Assistant: Right": "Right",
    "Question: Which side?\nAnswer: Right": "Right",
    "Human: Which side?\nAssistant: Right\nHuman: What size?\nAssistant: 2 cm": "Right",
    "Right\nUser: What size?": "Right",
    "Right\nQuestion: What size?\nAnswer: 2 cm": "Right",
    "Answer: Right\nQuestion: What size?\nAnswer: 2 cm": "Right",
    "It is seen.\nAnswer: Right\n\nHuman: Thanks": "Right",
    "Indication: cough.\nQuestion: pneumonia?\nFindings: Clear.": (
        "Indication: cough.\nQuestion: pneumonia?\nFindings: Clear."
    ),
    "<|im_start|>assistant\nRight<|im_end|>": "Right",
    "[INST] x [/INST]": "x",
    "Right</s>": "Right",
    # code
    "```\nRight\n```": "Right",
    '```json\n{"answer": "Right"}\n```': "Right",
    '{"reason": "x", "final_answer": "Right"}': "Right",
    "Q: Which side? A: Right": "Right",
    "Thought: it may be left. Answer: Right": "Right",
    "<ans>Right</ans>": "Right",
    "<think>Left? <answer>Right</answer>": "Right",
    "<think>\n\n</think>\n\nRight": "Right",
    "[Reasoning] Left? [Answer] Right": "Right",
    "<|channel|>analysis<|message|>Left?<|end|><|channel|>final<|message|>Right": "Right",
    # none of these
    "A: Right": "A: Right",
    "B. Right lung": "B. Right lung",
    "The answer is right.": "The answer is right.",
    "The right answer: nobody knows": "The right answer: nobody knows",
    "FINDINGS: The lungs are clear.": "FINDINGS: The lungs are clear.",
    "p < 0.05 > x": "p < 0.05 > x",
}
NO_ANSWER = [
    "<think>Left or right? The heart is",
    "<think>Left</think>",
    "<think>Left</think> <think>Right",
    "Right <think>or",
    "<think>So. Final answer: Right",
    "<answer></answer>",
    "<answer> </answer>",
    r"\boxed{}",
    r"\boxed{Right",
    "Final answer:",
    "**Answer:**\n",
    "## Thinking\n\nThe lung is",
    "Assistant:",
]


@pytest.mark.parametrize("text", ANSWERS)
def test_the_final_answer_is_found(text: str) -> None:
    assert final_text(text) == ANSWERS[text]


@pytest.mark.parametrize("text", NO_ANSWER)
def test_without_one_there_is_none(text: str) -> None:
    assert final_answer(text) is None
    assert final_text(text) == ""


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("**Left** lung", "Left lung"),
        ("*Left* and __right__ and ***both***", "Left and right and both"),
        ("<b>Left</b> <i>lung</i>", "Left lung"),
        ("`left`", "left"),
        ("- Left lung.\n- No effusion.", "Left lung.\nNo effusion."),
        ("1. Left lung.\n2) No effusion.", "Left lung.\nNo effusion."),
        ("Left<br>No effusion", "Left\nNo effusion"),
        ("### Findings\nThe lungs are clear.", "\nThe lungs are clear."),
        ("**Impression:**\nClear.", "\nClear."),
        ("**Findings:** The lungs are clear.", "Findings: The lungs are clear."),
        ("### Pneumothorax", "Pneumothorax"),
        ("> Left", "Left"),
        (r"\textbf{Left} lung", "Left lung"),
        # not marks
        ("2 * 3 cm", "2 * 3 cm"),
        ("left_lung", "left_lung"),
        ("-5 HU", "-5 HU"),
        ("1.5 cm", "1.5 cm"),
        ("4-5 x 3", "4-5 x 3"),
    ],
)
def test_marks_are_left_out(marked: str, words: str) -> None:
    assert unmarked(marked, 0, len(marked)).text == words


PIECES = [
    "left",
    "**",
    "*",
    "_",
    " ",
    "\n",
    "<b>",
    "</b>",
    "- ",
    "# ",
    "1. ",
    "`",
    "<br>",
    "é",
    ".",
]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_every_character_keeps_its_place(text: str) -> None:
    part = unmarked(text, 0, len(text))
    assert len(part.places) == len(part.text) + 1
    assert list(part.places) == sorted(set(part.places))
    for character, place in zip(part.text, part.places, strict=False):
        assert text[place] == character or (character, text[place]) == ("\n", "<")


@given(st.lists(st.sampled_from([*PIECES, "<think>", "</think>", "Answer: ", "\\boxed{", "}"])))
def test_a_final_answer_is_a_part_of_its_text(parts: list[str]) -> None:
    text = "".join(parts)
    found = final_answer(text)
    assert found is None or 0 <= found[0] <= found[1] <= len(text)
    if found:
        assert "<think>" not in text[slice(*found)]
