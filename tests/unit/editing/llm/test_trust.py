"""What stands between a model's nonsense and a pair: the exam, and the wording of its edits."""

from __future__ import annotations

import json
import random

import pytest

from medray.config import EditorConfig
from medray.editing import EDITORS
from medray.editing.guard import projected
from medray.editing.llm import EditTask, JudgedEdit, check
from medray.editing.llm.acceptance import odd_wording
from medray.editing.llm.exam import questions
from medray.editing.llm.replies import ReplacementReply
from medray.editing.ontology.lexicon import ontology
from medray.editing.sentences import split
from medray.errors import ItemError
from tests.support.models.tiny_chat_model import build_tiny_chat_model
from tests.unit.editing.llm.test_llm_editor import ODD_REFERENCE, ODD_WRONG, QUESTION, change
from tests.unit.editing.llm.test_served_model import EXAM, Script, in_the_exam, text_of, well


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_tiny_chat_model(tmp_path_factory.mktemp("chat") / "model")


class Candidate(Script):
    """Answers the exam by `exam`, all else well."""

    def __init__(self, exam) -> None:
        super().__init__(well)
        self.exam, self.sat = exam, 0

    def _reply(self, body):
        if text_of(body) not in EXAM:
            return super()._reply(body)
        self.sat += 1
        name = body["response_format"]["json_schema"]["name"]
        return self.exam(name, json.loads(body["messages"][1]["content"]))


def edit(model, candidate, kind="llm", times=1):
    built = EDITORS[kind](EditorConfig(kind=kind, path=str(model)), candidate)
    for _ in range(times):
        (result,) = built.edit_many([EditTask(QUESTION, ODD_REFERENCE, ODD_WRONG)])
    return result


# --- the exam ---------------------------------------------------------------------------------


def test_the_exam_is_balanced_and_its_answers_are_consistent():
    read, edited = questions("read"), questions("edit")
    assert sum(item["verdict"] == "right" for item in read) * 2 == len(read)
    for item in edited:
        assert ("change" in item) == (item["verdict"] == "wrong")
        assert item["verdict"] == "right" or item["change"][0] in item["answer"]


def test_a_model_that_passes_is_asked_once_and_used(model):
    candidate = Candidate(in_the_exam)
    assert isinstance(edit(model, candidate, times=3), JudgedEdit)
    assert candidate.sat == len(questions("read")) + len(questions("edit"))


@pytest.mark.parametrize("kind", ["llm", "findings+llm"])
@pytest.mark.parametrize(
    "exam",
    [
        lambda name, _: '{"verdict": "right", "replacements": []}',
        lambda name, _: '{"verdict": "wrong", "replacements": []}',
        lambda name, _: "no JSON",
        lambda name, inputs: in_the_exam(name, inputs).replace("right", "left"),
    ],
    ids=["all right", "all wrong", "no JSON", "confused"],
)
def test_a_model_that_fails_is_not_used(model, exam, kind):
    candidate = Candidate(exam)
    result = edit(model, candidate, kind, times=2)
    assert isinstance(result, ItemError)
    assert result.reason == "llm-unqualified"
    assert candidate.sat == 24, "once is enough"
    assert candidate.batches == [], "and nothing else is asked"


def test_an_outage_during_the_exam_is_not_a_failure(model):
    outages = iter([True] * 24)

    def exam(name, inputs):
        if next(outages, False):
            return ItemError("llm-unavailable", "no reply in time")
        return in_the_exam(name, inputs)

    candidate = Candidate(exam)
    first = edit(model, candidate)
    assert isinstance(first, ItemError)
    assert first.reason == "llm-unavailable"
    assert isinstance(edit(model, candidate), JudgedEdit)


@pytest.mark.parametrize("seed", range(20))
def test_a_model_that_guesses_fails(model, seed):
    rng = random.Random(seed)

    def guess(name, inputs):
        verdict = rng.choice(["right", "wrong"])
        if name == "verify":
            return json.dumps({"verdict": verdict})
        words = inputs["answer"].rstrip(".").split()
        named = change(rng.choice(words), rng.choice(inputs["reference"].split()))
        named |= {"occurrence": 1, "error_type": rng.choice(list(ontology().severity))}
        return json.dumps({"verdict": verdict, "replacements": [named]})

    result = edit(model, Candidate(guess))
    assert isinstance(result, ItemError)
    assert result.reason == "llm-unqualified"


# --- wording ----------------------------------------------------------------------------------


def is_odd(reference, answer, original, corrected, verdict="wrong"):
    named = change(original, corrected) | {"occurrence": 1}
    made = check.checked_edit(verdict, answer, [ReplacementReply.model_validate(named)], 1.0)
    (draft,) = projected(answer, split(answer), made)
    return odd_wording(answer, draft, reference, corrects=verdict == "wrong")


@pytest.mark.parametrize(
    ("reference", "answer", "original", "corrected"),
    [
        ("The left lung.", "There is a nodule in the right lung.", "right", "left"),
        ("No effusion.", "There is a pleural effusion.", "a pleural", "no pleural"),
        ("Right upper lobe.", "A nodule in the right lower lobe.", "lower", "upper"),
        ("The heart is enlarged.", "The heart is normal in size.", "normal", "enlarged"),
        ("There is pneumonia.", "There is a small effusion.", "a small effusion", "pneumonia"),
        ("A large mass.", "There is a small mass.", "small", "large"),
        ("MRI", "The image is a CT.", "a CT", "an MRI"),
    ],
)
def test_ordinary_corrections_are_worded_well(reference, answer, original, corrected):
    assert not is_odd(reference, answer, original, corrected)


@pytest.mark.parametrize(
    ("reference", "answer", "original", "corrected"),
    [
        ("COPD.", "No COPD.", "No", "lower small"),
        ("No embolism.", "There is a pulmonary embolism.", "a", "no nodule"),
        ("Two nodules.", "A single nodule is seen.", "A", "Two"),
        ("A left nodule.", "A nodule on the right.", "right", "nodule effusion"),
        ("The heart is normal.", "The heart is not normal.", "not", ""),
        ("A right effusion.", "A left effusion and a left nodule.", "effusion", "left and left"),
        ("Small nodule.", "A large nodule.", "nodule", ""),
        ("Pneumonia.", "There is an effusion.", "an effusion", "a fracture"),
        ("Left lower lobe.", "Left upper lobe consolidation.", "lobe consolidation", "no"),
    ],
)
def test_word_salad_is_odd(reference, answer, original, corrected):
    assert is_odd(reference, answer, original, corrected)
