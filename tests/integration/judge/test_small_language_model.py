"""SmolLM2-135M, a real chat model far too weak to edit, in a served engine: valid, and harmless."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
import ray

from actors.fleet import RestartBudget
from actors.fleet.served import LanguageModels
from medray.config import Config, EditorConfig
from medray.editing import EDITORS, FindingsEditor
from medray.editing.llm import EditTask
from medray.editing.llm.chat import request
from medray.editing.llm.editor import LLMEditor
from medray.editing.llm.replies import EditReply, ScoreReply, VerdictReply, parse, schema
from medray.errors import ItemError
from medray.phantom.studies.truth import Truth, stream
from medray.phantom.styles import SHORT
from medray.phantom.training.batches import bias
from tests.support.datasets.hard_sentences import sentences
from tests.support.models.smollm2 import needs_smollm2, smollm2

# Minutes, and a model that is not among the requirements: for the long tests.
pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.chaos, needs_smollm2]
CASES = sentences()[::6]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(completer, configuration) of the model in an actor of its own."""
    model = smollm2(tmp_path_factory.mktemp("smollm2") / "SmolLM2")
    editor = EditorConfig(kind="findings+llm", path=str(model))
    config = Config.model_validate({"data": {"kind": "phantom"}, "editor": editor})
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)

    async def start():
        budget = RestartBudget(config.faults, print)
        models = LanguageModels(config, {"num_cpus": 1}, budget, print)
        await models.start()
        await models.wait_ready()
        return models.served

    yield asyncio.run(start()), editor
    ray.shutdown()


@pytest.mark.parametrize(
    ("prompt", "kind"), [("edit", EditReply), ("verify", VerdictReply), ("relevance", ScoreReply)]
)
def test_every_reply_is_valid(served, prompt, kind):
    completer, editor = served
    bodies = []
    for case in CASES:
        inputs = {"question": case.question, "reference": case.reference, "answer": case.answer}
        bodies.append(request(editor.path, prompt, inputs, form=schema(kind)))
    start = time.monotonic()
    replies = completer.complete(bodies, start + 500)
    size = sum(len(str(reply)) for reply in replies)
    print(f"{prompt}: {len(replies)} replies, {size} characters, {time.monotonic() - start:.0f} s")
    assert [reply for reply in replies if isinstance(reply, ItemError)] == []
    for reply in replies:
        parse(reply, kind)


def test_it_adds_no_false_pair_to_those_of_the_rules(served):
    completer, editor = served
    tasks = [EditTask(case.question, case.reference, case.answer) for case in CASES]
    results = EDITORS["findings+llm"](editor, completer).edit_many(tasks)
    made = 0
    for case, result in zip(CASES, results, strict=True):
        if isinstance(result, ItemError):
            print(result.reason)
            continue
        print(result.note, result.edit.verdict, result.edit.reason[:60])
        if "by=llm" not in result.note or result.edit.verdict == "abstain":
            continue
        made += 1
        chosen = case.answer if result.edit.verdict == "right" else result.edit.text
        again = FindingsEditor().edit(case.question, case.reference, chosen, seed=0)
        assert again.verdict == "right" or chosen in case.edited, (case, result)
    print(f"{made} of {len(CASES)} by the model")


def biased_reports(number: int) -> list[tuple[Truth, EditTask]]:
    """Reports of phantoms, most of them on the wrong side, in words that the prompt's example has.

    The model repeats that example, "right lung" for "left lung", whatever it is asked.
    """
    found: list[tuple[Truth, EditTask]] = []
    for index in range(1000):
        truth = SHORT.truth(7, "heldout", index)
        reported = bias(SHORT, truth, stream(7, "heldout", index, "reported"), 0.7)
        spoken = SHORT.exchanges(7, "heldout", index, truth, reported)[0]
        right = SHORT.exchanges(7, "heldout", index, truth, truth)[0]
        if "right lung" in spoken.answer:
            found.append((truth, EditTask(spoken.question, right.answer, spoken.answer)))
    return found[:number]


@pytest.mark.parametrize("kind", ["llm", "findings+llm"])
def test_without_the_exam_no_false_edit_passes_the_guard(served, kind):
    """By the phantoms' own truth, which neither rules nor guard know."""
    completer, config = served
    editor = LLMEditor(
        config.model_copy(update={"kind": kind}), completer, strict=kind == "findings+llm"
    )
    editor.exam = None
    cases = biased_reports(24)
    outcomes: Counter[str] = Counter()
    for (truth, task), result in zip(
        cases, editor.edit_many([task for _, task in cases]), strict=True
    ):
        if isinstance(result, ItemError) or result.edit.verdict == "abstain":
            outcomes[result.reason if isinstance(result, ItemError) else result.edit.reason] += 1
            continue
        outcomes[result.edit.verdict] += 1
        for sentence in result.edit.sentences:
            sides = task.answer[sentence.start : sentence.end], sentence.text
            chosen, rejected = sides[::-1] if result.edit.verdict == "wrong" else sides
            true = truth.attributes()
            assert SHORT.read(chosen).items() <= true.items(), (task, result)
            assert not SHORT.read(rejected).items() <= true.items(), (task, result)
    print(kind, dict(outcomes))
    assert outcomes.total() == len(cases)
    assert outcomes["wrong"], "the guard lets what is true pass"
    assert outcomes.total() > outcomes["wrong"], "and no more"
