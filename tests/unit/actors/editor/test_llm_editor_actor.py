"""The edit actor with a chat endpoint: pairs made and packed, failures dropped with reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from actors.editor.actor import Editor
from medray.config import EditorConfig
from medray.imaging.load import load_image
from medray.records import Case, Dropped, Pair, Response
from medray.targeting import EditContext
from tests.support.datasets.phantoms import lesion_report, small_phantoms
from tests.support.processes.chat_server import ChatRequest, Say, serve
from tests.unit.editing.llm.test_llm_editor import change, reply

WRONG = "There is a small nodule in the right upper zone. The heart is enlarged."
RIGHT = WRONG.replace("right", "left")
PATIENT = "PAT-0815"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_phantoms(tmp_path_factory.mktemp("data") / "phantoms")


@pytest.fixture(scope="module")
def case(config) -> Case:
    return replace(lesion_report(config, RIGHT), patient_id=PATIENT)


def script(request: ChatRequest) -> Say:
    """Side errors are corrected; the rest fails in its own way."""
    if request.prompt == "relevance":
        return Say({"agree": False, "score": 0.4})
    answer = request.inputs["answer"]
    if answer == WRONG:
        return reply("wrong", change("right", "left"))
    if answer == RIGHT:
        return reply("right", change("left", "right"))
    if answer == "Deny.":
        return Say(status=403)
    if answer == "Xyzzy.":
        return reply("cannot-tell")
    return Say("no JSON") if answer == "Talk." else reply("wrong", change("absent", "x"))


def run(config, case, texts, given=script, **keys):
    """(results, batch, the requests, the editor) of these answers to one case."""
    with serve(given) as server:
        section = EditorConfig(
            kind="llm", url=server.url, model="m", max_edit_fraction=0.7, retries=0, **keys
        )
        editor = Editor(config.model_copy(update={"editor": section}), 0)
        image = load_image(case.image)
        responses = [respond(editor, case, i, text) for i, text in enumerate(texts)]
        made, batch = editor.edit(
            EditContext(1), [case] * len(responses), responses, *[image] * len(responses)
        )
    return list(made.results), batch, server.requests, editor


def respond(editor: Editor, case: Case, number: int, text: str) -> Response:
    ids = (*editor.codec.tokenizer.encode(text, add_special_tokens=False), editor.codec.eos_id)
    version = 0 if text == "Old." else 1
    logps = (0.0,) * len(ids)
    return Response(f"i{number}", case.case_id, version, text, ids, logps, text != "Cut")


def test_pairs_are_made_and_packed_and_the_rest_is_dropped_with_its_reason(config, case):
    texts = [WRONG, RIGHT, "", "Old.", "Cut", "Talk.", "Lost.", "Xyzzy.", "Deny."]
    results, batch, requests, editor = run(config, case, texts)
    wrong, right = results[:2]
    assert isinstance(wrong, Pair)
    assert isinstance(right, Pair)
    sides = tuple(text.partition(" The heart")[0] for text in (RIGHT, WRONG))
    assert (wrong.chosen, wrong.rejected, wrong.response_was_correct) == (*sides, False)
    assert (right.chosen, right.rejected, right.response_was_correct) == (*sides, True)
    assert wrong.editor == f"llm/{editor.editor.version}"
    dropped = results[2:]
    assert all(isinstance(o, Dropped) for o in dropped)
    assert [o.reason for o in dropped] == [
        "empty-answer",
        "stale",
        "unfinished-answer",
        "llm-malformed",
        "llm-span-not-found",
        "abstained:llm-cannot-tell",
        "llm-refused",
    ]
    assert [p.pair_id for p in batch.pairs] == ["i0.0", "i1.0"]
    tokens = batch.pairs[0].rejected.ids[batch.pairs[0].rejected.edited]
    assert editor.codec.tokenizer.decode(tokens).strip() == "right"
    assert sorted(a.inputs["answer"] for a in requests) == sorted(
        [WRONG, RIGHT, "Talk.", "Lost.", "Xyzzy.", "Deny."]
    ), "what is dropped anyway is not sent"


def test_the_judges_score_is_the_relevance_and_is_recorded(config, case):
    results, batch, _, editor = run(config, case, [WRONG], judges=("a",))
    assert results[0].relevance == 0.4
    note = "relevance=judges/1 rounds:1 skipped:0 consensus:yes"
    assert results[0].editor == f"llm/{editor.editor.version} {note}"
    assert batch.pairs[0].relevance == 0.4


def test_judges_order_the_pairs(config, case):
    other = WRONG.replace("small", "tiny")

    def given(request: ChatRequest) -> Say:
        if request.prompt == "edit":
            return reply("wrong", change("right", "left"))
        return Say({"agree": False, "score": 0.2 if request.inputs["correct"] == RIGHT else 0.9})

    results, *_ = run(config, case, [WRONG, other], given, judges=("a",))
    assert all(isinstance(o, Pair) for o in results)
    assert [outcome.relevance for outcome in results] == [0.2, 0.9]


def test_nothing_that_names_the_patient_or_the_case_is_sent(config, case):
    texts = [WRONG, f"As in {PATIENT.lower()}: a nodule in the right zone."]
    results, _, requests, _ = run(config, case, texts, judges=("a", "a"))
    assert isinstance(results[0], Pair)
    assert isinstance(results[1], Dropped)
    assert results[1].reason == "llm-identifier"
    assert requests
    private = [PATIENT, case.case_id, case.image, Path(case.image).name, case.image_sha256]
    for sent in requests:
        text = json.dumps(sent.body, ensure_ascii=False) + repr(sent.headers)
        assert [p for p in private if p.lower() in text.lower()] == []
        assert "image_url" not in text


def test_the_image_goes_along_only_where_it_is_configured(config, case):
    *_, requests, _ = run(config, case, [WRONG], send_image=True)
    part = requests[0].body["messages"][1]["content"][1]
    assert part["image_url"]["url"].startswith("data:image/png;base64,")


def test_an_endpoint_that_is_down_drops_all_and_loses_none(config, case):
    results, batch, *_ = run(config, case, [WRONG] * 5, lambda _: Say(status=503))
    assert [o.reason for o in results] == ["llm-unreachable"] * 5
    assert [o.item_id for o in results] == [f"i{i}" for i in range(5)]
    assert not batch.pairs
