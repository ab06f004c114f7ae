"""Properties of every edit, whatever a model samples."""

from __future__ import annotations

import string
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from medray.editing import FindingsEditor
from medray.editing.guard.truth import conflicts_in
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.editing.sentences import Sentence, split
from medray.records import Edit, Span

EDITOR = FindingsEditor()
QUESTIONS = (
    "Describe the chest radiograph.",
    "Is there a nodule?",
    "Is the lesion on the left side?",
    "Is the heart enlarged?",
    "Which zone is the lesion in?",
    "What is the abnormality?",
    "what imaging modality is used?",
    "is this a ct or an mri?",
    "",
    "Describe the head CT.",
    "How many nodules are there?",
    "Describe the fundus photograph.",
    "Are there abnormalities in this image?",
    "What diseases are shown?",
    "Is the mass homogeneous?",
    "Which is bigger, the heart or the brain?",
    "Does it look abnormal?",
    "What symptoms does the disease cause?",
    "Where is the abnormality located?",
)
REFERENCES = (
    "There is a small nodule in the left upper zone. The heart size is normal.",
    "Large right-sided pleural effusion. Enlarged heart.",
    "The lungs are clear. There is cardiomegaly.",
    "Yes",
    "No, there is an opacity.",
    "Left",
    "Upper zone",
    "MRI",
    "right kidney cyst",
    "",
    "Acute left subdural hematoma with midline shift.",
    "Two cysts in the left lobe of the liver.",
    "No hard exudates. Severe nonproliferative diabetic retinopathy.",
    "Possible pneumothorax.",
    "The left effusion has resolved. RUL nodule.",
    "Pneumonia, lung cancer",
    "2 x 3 cm",
    "Heart",
    "Headache and nausea",
)
PHRASES = (
    "There is a",
    "A",
    "an",
    "the",
    "is seen",
    "is not",
    "in the",
    "of the",
    "no",
    "No",
    "Yes,",
    "No,",
    "without",
    "and",
    "or",
    "but",
    "small",
    "Large",
    "left",
    "right-sided",
    "bilateral",
    "upper zone",
    "lower",
    "lung",
    "nodule",
    "opacities",
    "pleural effusion",
    "lesion",
    "cavity",
    "heart",
    "heart size",
    "normal",
    "enlarged",
    "cardiomegaly",
    "The lungs are clear",
    "5.6 cm",
    "two",
    "a single",
    "several nodules",
    "RUL",
    "LLL",
    "PTX",
    "SDH",
    "possible",
    "may be",
    "cannot be excluded",
    "has resolved",
    "does not show",
    "shows",
    "neither",
    "nor",
    "the liver",
    "subdural hematoma",
    "acute",
    "chronic",
    "mild",
    "severe",
    "not",
    "rather than",
    "computed",
    "tomography (CT)",
    ", specifically",
    "hard exudates",
    "right lung is clear",
    "metastases",
    "midline shift",
    "MRI",
    "axial",
    ".",
    ",",
    "?",
    "\n",
    "not seen",
    "🫁",
    "é",
    "brain",
    "mass",
    "None",
    "kidney",
    "larger than",
    "smallest",
    "abnormal",
    "asymptomatic",
    "no symptoms",
    ", which is",
)

soup = st.lists(st.sampled_from(PHRASES), max_size=16).map(" ".join)
noise = st.text(max_size=40)
answers = st.one_of(soup, noise, st.tuples(soup, noise, soup).map("".join))


def substitute(text: str, spans: tuple[Span, ...], other: str, others: tuple[Span, ...]) -> str:
    """`text` with each span replaced by the other side's."""
    parts, position = [], 0
    for old, new in zip(spans, others, strict=True):
        parts += [text[position : old.start], other[new.start : new.end]]
        position = old.end
    return "".join([*parts, text[position:]])


def check_spans(text: str, spans: tuple[Span, ...]) -> None:
    position = 0
    for span in spans:
        assert position <= span.start <= span.end <= len(text)
        assert span.severity == ontology().severity[span.error_type]
        assert span.reason
        position = span.end


def check(question: str, reference: str, answer: str, seed: int) -> Edit:
    edit = EDITOR.edit(question, reference, answer, seed=seed)
    assert edit == EDITOR.edit(question, reference, answer, seed=seed)
    if edit.verdict == "abstain":
        assert edit.reason
        assert (edit.text, edit.answer_spans, edit.text_spans) == ("", (), ())
        assert edit.sentences == ()
        return edit
    assert edit.text or edit.sentences
    if edit.text:
        check_sides(answer, edit.answer_spans, edit.text, edit.text_spans)
    numbers = [sentence.sentence for sentence in edit.sentences]
    assert len(numbers) == len(set(numbers))
    severities = [max(s.severity for s in x.answer_spans) for x in edit.sentences]
    assert severities == sorted(severities, reverse=True)
    for sentence in edit.sentences:
        sampled_text = answer[sentence.start : sentence.end]
        assert sampled_text == sampled_text.strip() != ""
        assert Sentence(sentence.sentence, sentence.start, sentence.end) in split(answer)
        check_sides(sampled_text, sentence.answer_spans, sentence.text, sentence.text_spans)
    return edit


def check_sides(
    answer: str, answer_spans: tuple[Span, ...], text: str, text_spans: tuple[Span, ...]
) -> None:
    check_spans(answer, answer_spans)
    check_spans(text, text_spans)
    assert answer_spans
    assert text != answer
    assert substitute(text, text_spans, answer, answer_spans) == answer
    assert substitute(answer, answer_spans, text, text_spans) == text


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(QUESTIONS), st.sampled_from(REFERENCES), answers, st.integers(0, 9))
def test_every_edit_can_be_undone_and_passes_its_own_check(
    question: str, reference: str, answer: str, seed: int
) -> None:
    edit = check(question, reference, answer, seed)
    for sentence in edit.sentences:
        prefix = answer[: sentence.start]
        again = EDITOR.edit(question, reference, prefix + sentence.text, seed=seed)
        there = {s.sentence for s in again.sentences} if again.verdict == "wrong" else set()
        if edit.verdict == "wrong":  # the corrected sentence is not wrong where it stands
            assert sentence.sentence not in there
            judgement = judge(prefix + sentence.text, facts(question, reference))
            assert not conflicts_in(judgement, len(prefix))
        else:
            assert judge(prefix + sentence.text, facts(question, reference)).verdict == "wrong"
    if edit.verdict == "wrong" and edit.text:
        again = EDITOR.edit(question, reference, edit.text, seed=seed)
        assert again.verdict == "right" or again.reason == "no-variant"
    if edit.verdict == "right" and edit.text:
        assert judge(edit.text, facts(question, reference)).verdict == "wrong"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(QUESTIONS), st.sampled_from(REFERENCES), answers, answers)
def test_what_was_not_sampled_is_context_and_is_not_edited(
    question: str, reference: str, given_text: str, sampled: str
) -> None:
    answer = f"{given_text} {sampled}"
    edit = EDITOR.edit(question, reference, answer, seed=0, start=len(given_text))
    assert all(sentence.start >= len(given_text) for sentence in edit.sentences)


@settings(max_examples=100, deadline=None)
@given(noise, noise, noise)
def test_no_text_raises_an_error(question: str, reference: str, answer: str) -> None:
    check(question, reference, answer, 0)


def test_long_answers_are_edited_in_reasonable_time() -> None:
    started = time.perf_counter()
    for unit in ("No nodule, ", "nodule ", "a ", "no ", "(", string.punctuation, "x" * 50):
        check(QUESTIONS[0], REFERENCES[0], unit * 300, 0)
    assert time.perf_counter() - started < 20


def test_correcting_the_variant_of_a_report_restores_the_report() -> None:
    reference = "A large cavity is present in the right lower zone. The heart is enlarged."
    restored = 0
    for seed in range(40):
        edit = EDITOR.edit("Describe.", reference, reference, seed=seed)
        assert edit.verdict == "right"
        corrected = EDITOR.edit("Describe.", reference, edit.text, seed=seed)
        assert corrected.verdict == "wrong"
        restored += corrected.text == reference
    assert restored >= 34  # all but some effusions, which lose where the zone was
