"""The editor with a model that is served here: batches, schemas, the directory, the configuration.

The completer is scripted; everything else is what a run uses.
"""

from __future__ import annotations

import itertools
import json
import time

import jsonschema
import pytest
from pydantic import ValidationError

from medray.config import EditorConfig
from medray.editing import EDITORS
from medray.editing.llm import BatchEditor, EditTask, JudgedEdit
from medray.editing.llm.completion import Budget, converse
from medray.editing.llm.completion.model_directory import check_model, context_of, identity_of
from medray.editing.llm.exam import questions
from medray.editing.llm.replies import EditReply, ScoreReply, VerdictReply, parse, schema
from medray.editing.ontology.lexicon import ontology
from medray.errors import ConfigError, ItemError
from tests.support.models.tiny_chat_model import CONTEXT, build_tiny_chat_model
from tests.unit.editing.llm.test_llm_editor import (
    ODD_REFERENCE,
    ODD_WRONG,
    QUESTION,
    REFERENCE,
    WRONG,
    change,
)

EDIT = json.dumps({"verdict": "wrong", "replacements": [change() | {"occurrence": None}]})


def text_of(body):
    inputs = json.loads(body["messages"][1]["content"])
    return tuple(inputs.get(key) for key in ("question", "reference", "answer"))


EXAM = {
    (item["question"], item["reference"], item["answer"]): item
    for kind in ("read", "edit")
    for item in questions(kind)
}


def in_the_exam(name, inputs):
    """What a good model says there."""
    item = EXAM[inputs["question"], inputs["reference"], inputs["answer"]]
    if name == "verify":
        return json.dumps({"verdict": item["verdict"]})
    named = [change(*item["change"]) | {"occurrence": None}] if "change" in item else []
    return json.dumps({"verdict": item["verdict"], "replacements": named})


class Script:
    """A completer that answers each request by a function of its prompt's name and inputs.

    In the exam it knows everything.
    """

    constrained, threads = True, 0

    def __init__(self, answer) -> None:
        self.answer, self.batches = answer, []

    def identity(self, model):
        return f"{model}@0"

    def complete(self, bodies, until):
        assert until > time.monotonic()
        if not all(text_of(body) in EXAM for body in bodies):
            self.batches.append(bodies)
        return [self._reply(body) for body in bodies]

    def _reply(self, body):
        form = body["response_format"]["json_schema"]
        inputs = json.loads(body["messages"][1]["content"])
        answer = in_the_exam if text_of(body) in EXAM else self.answer
        reply = answer(form["name"], inputs)
        if isinstance(reply, ItemError):
            return reply
        jsonschema.validate(json.loads(reply), form["schema"])
        return reply


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_tiny_chat_model(tmp_path_factory.mktemp("chat") / "model")


def edit(model, answer, tasks, kind="llm", **keys):
    """(results, batches) of the tasks."""
    script = Script(answer)
    built = EDITORS[kind](EditorConfig(kind=kind, path=str(model), **keys), script)
    assert isinstance(built, BatchEditor)
    return built.edit_many(tasks), script.batches


def well(name, inputs):
    """A model that knows sides and flanges."""
    if name == "relevance":
        return '{"agree": false, "score": 0.5}'
    if name == "verify":
        wrong = inputs["answer"] in (WRONG, ODD_WRONG)
        return json.dumps({"verdict": "wrong" if wrong else "right"})
    if "flange" in inputs["answer"]:
        named = change("slackened", "torqued") | {"occurrence": None, "reason": "As referred."}
        return json.dumps({"verdict": "wrong", "replacements": [named]})
    return EDIT


# --- batches ----------------------------------------------------------------------------------


def test_requests_of_one_step_are_one_batch(model):
    tasks = [EditTask(QUESTION, REFERENCE, WRONG), EditTask(QUESTION, ODD_REFERENCE, ODD_WRONG)] * 3
    results, batches = edit(model, well, tasks, judges=(str(model),))
    assert [r.edit.text for r in results] == [REFERENCE, ODD_REFERENCE] * 3
    assert {r.relevance for r in results} == {0.5}
    # All edits; then judges for what the rules confirm beside verification of the rest.
    assert [len(batch) for batch in batches] == [6, 6, 3, 3]


def test_a_dialogue_that_fails_leaves_the_others_alone(model):
    def answer(name, inputs):
        if inputs["answer"].startswith("Lost"):
            return ItemError("llm-unavailable", "no reply in time")
        return well(name, inputs)

    tasks = [EditTask(QUESTION, REFERENCE, text) for text in (WRONG, "Lost. " + WRONG, WRONG)]
    results, _ = edit(model, answer, tasks)
    assert [isinstance(r, JudgedEdit) for r in results] == [True, False, True]
    assert results[1].reason == "llm-unavailable"


@pytest.mark.parametrize("threads", [0, 3])
def test_results_are_in_order_however_dialogues_proceed(threads):
    class Echo:
        constrained = True

        def __init__(self):
            self.threads = threads

        def complete(self, bodies, until):
            return [ItemError("x") if body["n"] == 7 else str(body["n"]) for body in bodies]

    def dialogue(number):
        total = 0
        for step in range(number % 4):
            total += int((yield {"n": number + step}))
        return total

    results = converse([dialogue(n) for n in range(9)], Echo(), time.monotonic() + 60)
    reasons = [r.reason if isinstance(r, ItemError) else r for r in results]
    assert reasons == [0, 1, 5, 12, 0, 5, "x", "x", 0]


def test_without_answers_nothing_is_asked(model):
    assert edit(model, well, []) == ([], [])


def test_a_budget_is_divided_among_editors():
    config = EditorConfig(kind="llm", url="http://localhost/v1", model="m", budget=7, replicas=3)
    budget = Budget(config.requests, config.section)
    budget.spend()
    budget.spend()
    with pytest.raises(ItemError) as caught:
        budget.spend()
    assert caught.value.reason == "llm-budget"


def test_a_model_that_is_not_served_here_says_so(model):
    built = EDITORS["llm"](EditorConfig(kind="llm", path=str(model)))
    with pytest.raises(ItemError) as caught:
        built.edit(QUESTION, REFERENCE, WRONG, seed=0)
    assert caught.value.reason == "llm-unavailable"


def test_replies_are_cached_under_the_models_digest(model, tmp_path):
    tasks = [EditTask(QUESTION, REFERENCE, WRONG)]
    keys = {"cache": str(tmp_path)}
    first, batches = edit(model, well, tasks, **keys)
    again, none = edit(model, well, tasks, **keys)
    assert first == again
    assert (len(batches), none) == (1, [])


# --- rules first ------------------------------------------------------------------------------


def test_the_model_gets_only_what_the_rules_abstain_from(model):
    tasks = [EditTask(QUESTION, REFERENCE, WRONG), EditTask(QUESTION, ODD_REFERENCE, ODD_WRONG)]
    results, batches = edit(model, well, tasks, "findings+llm")
    assert results[0].note == "by=findings"
    sent = [json.loads(b["messages"][1]["content"])["answer"] for b in itertools.chain(*batches)]
    assert WRONG not in sent


def test_judges_score_the_edits_of_the_rules_too(model):
    tasks = [EditTask(QUESTION, REFERENCE, WRONG)]
    ((result,), _) = edit(model, well, tasks, "findings+llm", judges=(str(model),))
    assert result.relevance == 0.5
    assert result.note == "by=findings relevance=judges/1 rounds:1 skipped:0 consensus:yes"


def test_a_patient_is_never_named_to_the_model(model):
    tasks = [
        EditTask(QUESTION, text, answer + " As in PAT-0815.", patient_id="pat-0815")
        for text, answer in ((REFERENCE, WRONG), (ODD_REFERENCE, ODD_WRONG))
    ]
    results, batches = edit(model, well, tasks, "findings+llm", judges=(str(model),))
    assert batches == []
    assert results[0].note == "by=findings", "the rules send nothing"
    assert results[1].reason == "llm-identifier"


# --- sentences --------------------------------------------------------------------------------

PARAGRAPH = "The rod is bent. The flange is slackened near the old rod. The bolt is loose."


def sentences(model, *changes, answer=PARAGRAPH):
    reply = json.dumps({"verdict": "wrong", "replacements": [dict(c) for c in changes]})
    script = lambda name, inputs: (  # noqa: E731
        reply
        if name == "edit"
        else json.dumps({"verdict": "wrong" if inputs["answer"] == answer else "right"})
    )
    ((result,), _) = edit(model, script, [EditTask(QUESTION, ODD_REFERENCE, answer)])
    assert isinstance(result, JudgedEdit), result
    return result.edit


def named(original, corrected, severity=0.5, occurrence=None):
    return change(original, corrected, severity=severity, occurrence=occurrence)


def test_an_edit_is_given_by_its_sentences(model):
    result = sentences(model, named("old", "new", 0.6), named("slackened", "firmly torqued", 0.4))
    (sentence,) = result.sentences
    sampled = PARAGRAPH[sentence.start : sentence.end]
    assert (sentence.sentence, sampled) == (1, "The flange is slackened near the old rod.")
    assert sentence.text == "The flange is firmly torqued near the new rod."
    spans = zip(sentence.answer_spans, sentence.text_spans, strict=True)
    sides = [(sampled[a.start : a.end], sentence.text[b.start : b.end]) for a, b in spans]
    assert sides == [("slackened", "firmly torqued"), ("old", "new")]
    assert [span.severity for span in sentence.answer_spans] == [0.4, 0.6]


@pytest.mark.parametrize("marked", ["<think>Hmm.</think> {}", "\\boxed{{{}}}", "**{}**", "{}</s>"])
def test_the_model_sees_and_edits_the_final_answer(model, marked):
    task = EditTask(QUESTION, ODD_REFERENCE, marked.format(ODD_WRONG))
    ((result,), batches) = edit(model, well, [task])
    assert result.edit.text == marked.format(ODD_REFERENCE)
    sent = [json.loads(b["messages"][1]["content"])["answer"] for b in itertools.chain(*batches)]
    assert set(sent) <= {ODD_WRONG, ODD_REFERENCE}


def test_without_a_final_answer_nothing_is_sent(model):
    ((result,), batches) = edit(model, well, [EditTask(QUESTION, ODD_REFERENCE, "<think>Left")])
    assert (result.edit.verdict, result.edit.reason) == ("abstain", "no-final-answer")
    assert batches == []


def test_rules_do_not_decide_about_other_languages(model):
    """By chance they would: "Pneumothorax" is right, whatever denies it."""
    task = EditTask("Pneumothorax?", "Kein Pneumothorax rechts.", "Pneumothorax rechts.")
    ((result,), _) = edit(model, well, [task], "findings+llm")
    assert result.edit.reason == "language"


# --- schemas ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EditReply, VerdictReply, ScoreReply])
def test_schemas_name_every_key_and_nothing_else(kind):
    form = schema(kind)
    jsonschema.Draft202012Validator.check_schema(form)
    assert form["additionalProperties"] is False
    assert set(form["required"]) == set(form["properties"]) == set(kind.model_fields)


def test_what_fits_the_schema_is_a_reply():
    replacement = {"original": "a", "occurrence": 9, "corrected": "", "reason": "x" * 100}
    for error_type, share in itertools.product(ontology().severity, (0.0, 0.3, 1.0)):
        full = replacement | {"error_type": error_type, "severity": share}
        text = json.dumps({"verdict": "wrong", "replacements": [full] * 6})
        jsonschema.validate(json.loads(text), schema(EditReply))
        assert len(parse(text, EditReply).replacements) == 6
    for verdict in ("right", "wrong", "cannot-tell"):
        parse(json.dumps({"verdict": verdict}), VerdictReply)
    for score in (None, 0.0, 0.7, 1.0):
        assert parse(json.dumps({"agree": True, "score": score}), ScoreReply).score == score


@pytest.mark.parametrize(
    "bad",
    [
        {"verdict": "maybe", "replacements": []},
        {"verdict": "wrong", "replacements": [change(severity=7) | {"occurrence": None}]},
        {"verdict": "wrong", "replacements": [change(error_type="vibes") | {"occurrence": None}]},
        {"verdict": "wrong", "replacements": [change("") | {"occurrence": None}]},
        {"verdict": "wrong", "replacements": [change("x" * 161) | {"occurrence": None}]},
        {"verdict": "wrong", "replacements": [], "note": "x"},
    ],
)
def test_what_is_no_reply_does_not_fit(bad):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema(EditReply))


# --- the directory ----------------------------------------------------------------------------


def test_a_chat_model_is_accepted_and_its_identity_is_that_of_its_bytes(model, tmp_path):
    check_model(str(model), "editor.path")
    copy = tmp_path / "elsewhere" / model.name
    copy.mkdir(parents=True)
    for file in model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert identity_of(str(copy)) == identity_of(str(model))
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert identity_of(str(copy)) != identity_of(str(model))


def test_the_context_is_the_models_within_reason(tmp_path, model):
    assert context_of(str(model)) == min(CONTEXT, 8192)
    (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 2048}}')
    assert context_of(str(tmp_path)) == 2048
    (tmp_path / "config.json").write_text("{}")
    assert context_of(str(tmp_path)) == 8192


@pytest.mark.parametrize(
    ("absent", "why"),
    [
        ("config.json", "config.json"),
        ("tokenizer_config.json", "tokenizer_config.json"),
        ("model.safetensors", "safetensors"),
        ("chat_template.jinja", "chat template"),
        ("", "no such directory"),
        ("gguf", "GGUF"),
    ],
)
def test_what_cannot_be_served_is_one_clear_line(model, tmp_path, absent, why):
    folder = tmp_path / "model"
    if absent:
        folder.mkdir()
        kept = [f for f in model.iterdir() if f.name != absent]
        if absent == "gguf":
            kept = []
            (folder / "model.gguf").write_bytes(b"GGUF")
        for file in kept:
            (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match=why) as caught:
        EDITORS["findings+llm"](EditorConfig(kind="findings+llm", path=str(folder)))
    assert "editor.path" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_judges_are_directories_too(model, tmp_path):
    config = EditorConfig(kind="llm", path=str(model), judges=(str(model), str(tmp_path / "no")))
    with pytest.raises(ConfigError, match=r"editor\.judges"):
        EDITORS["llm"](config)
    assert config.served == (str(model), str(tmp_path / "no"))


# --- the configuration ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "llm"},
        {"kind": "findings+llm"},
        {"kind": "llm", "model": "m"},
        {"kind": "llm", "path": "x", "url": "http://h/v1", "model": "m"},
        {"kind": "llm", "path": "x", "model": "m"},
        {"kind": "findings+llm", "path": "x", "send_image": True},
    ],
)
def test_exactly_one_place_of_the_model_is_named(keys):
    with pytest.raises(ValidationError, match=r"needs path, or url and model|remove"):
        EditorConfig(**keys)


def test_a_path_is_all_that_is_needed():
    assert EditorConfig(kind="llm", path="x").served == ("x",)
    assert EditorConfig(kind="findings", path="x").served == ()
    assert EditorConfig(kind="findings+llm", url="http://h/v1", model="m").served == ()
