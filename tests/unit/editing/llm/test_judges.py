"""Judges in sequence: consensus, five rounds, and unusable replies."""

from __future__ import annotations

import pytest

from medray.config import EditorConfig
from medray.editing import EDITORS
from medray.editing.llm import EditTask, JudgedEdit
from tests.support.processes.chat_server import ChatRequest, Say, serve
from tests.unit.editing.llm.test_llm_editor import QUESTION, REFERENCE, WRONG, change, reply

AGREE = {"agree": True, "score": None, "reason": "so it is"}


def new(score: float) -> dict:
    return {"agree": False, "score": score, "reason": "not so"}


def judged(replies: dict[str, list], **keys) -> tuple[JudgedEdit, list[ChatRequest]]:
    """The result for one wrong answer, and the requests to the judges, in order.

    `replies`: what each judge replies, turn by turn.
    """

    def script(request: ChatRequest) -> Say:
        if request.prompt != "relevance":
            return reply("wrong", change())
        judgement = replies[request.body["model"]].pop(0)
        return judgement if isinstance(judgement, Say) else Say(judgement)

    with serve(script) as server:
        config = EditorConfig(
            **{
                "kind": "llm",
                "url": server.url,
                "model": "m",
                "retries": 0,
                "judges": tuple(replies),
                **keys,
            }
        )
        (result,) = EDITORS["llm"](config).edit_many([EditTask(QUESTION, REFERENCE, WRONG)])
    assert isinstance(result, JudgedEdit)
    return result, [r for r in server.requests if r.prompt == "relevance"]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def names(requests: list[ChatRequest]) -> list[str]:
    return [r.body["model"] for r in requests]


def test_without_judges_there_is_no_score():
    result, requests = judged({})
    assert (result.relevance, result.note, requests) == (None, "", [])


def test_one_judge_is_a_consensus():
    result, requests = judged({"a": [new(0.25)]})
    assert result.relevance == 0.25
    assert result.note == "relevance=judges/1 rounds:1 skipped:0 consensus:yes"
    assert requests[0].inputs == {
        "question": QUESTION,
        "reference": REFERENCE,
        "correct": REFERENCE,
        "incorrect": WRONG,
        "earlier": [],
    }


def test_all_others_have_to_agree():
    result, requests = judged({"a": [new(0.5)], "b": [AGREE], "c": [AGREE]})
    assert names(requests) == ["a", "b", "c"]
    assert result.relevance == 0.5
    assert "rounds:3 skipped:0 consensus:yes" in result.note


def test_a_new_score_is_current_until_the_others_agree_and_the_mean_counts():
    result, requests = judged({"a": [new(0.5), AGREE], "b": [new(1.0)], "c": [AGREE]})
    assert names(requests) == ["a", "b", "c", "a"]
    assert [r.inputs["earlier"] for r in requests] == [[], [0.5], [0.5, 1.0], [0.5, 1.0]]
    assert result.relevance == 0.75
    assert "consensus:yes" in result.note


def test_a_judge_who_agreed_with_an_older_score_must_judge_the_new_one():
    result, requests = judged({"a": [new(0.5), AGREE], "b": [AGREE, AGREE], "c": [new(0.7)]})
    assert names(requests) == ["a", "b", "c", "a", "b"]
    assert result.relevance == pytest.approx(0.6)
    assert "rounds:5 skipped:0 consensus:yes" in result.note


def test_after_five_rounds_the_mean_counts():
    replies = {"a": [new(0.0), new(0.4), new(0.8)], "b": [new(1.0), new(0.3)]}
    result, requests = judged(replies)
    assert names(requests) == ["a", "b", "a", "b", "a"]
    assert result.relevance == pytest.approx((0.0 + 1.0 + 0.4 + 0.3 + 0.8) / 5)
    assert result.note == "relevance=judges/1 rounds:5 skipped:0 consensus:no"


def test_the_same_score_again_is_agreement():
    result, requests = judged({"a": [new(0.5)], "b": [new(0.5)]})
    assert (result.relevance, len(requests)) == (0.5, 2)
    assert "consensus:yes" in result.note


@pytest.mark.parametrize(
    "nonsense",
    ["seven", new(7), {"agree": True}, {"score": "high"}, Say(status=404), Say(status=500)],
)
def test_a_judge_without_a_usable_reply_is_skipped_and_counted(nonsense):
    replies = {"a": [nonsense], "b": [new(0.5), AGREE], "c": [new(0.7)], "d": [AGREE]}
    result, requests = judged(replies)
    assert names(requests) == ["a", "b", "c", "d", "b"]
    assert result.relevance == pytest.approx(0.6)
    assert result.note == "relevance=judges/1 rounds:4 skipped:1 consensus:yes"


def test_agreement_without_an_earlier_score_is_unusable():
    replies = {"a": [AGREE], "b": [new(0.5), AGREE], "c": [new(0.7)]}
    result, requests = judged(replies)
    assert names(requests) == ["a", "b", "c", "b"]
    assert result.relevance == pytest.approx(0.6)
    assert "rounds:3 skipped:1 consensus:yes" in result.note


@pytest.mark.parametrize("judges", [1, 3])
def test_without_a_usable_judge_the_severity_is_the_relevance(judges):
    result, requests = judged({f"j{i}": ["nonsense"] for i in range(judges)})
    assert result.edit.verdict == "wrong", "the pair is still made"
    assert result.relevance is None
    assert result.note == f"relevance=severity skipped:{judges}"
    assert len(requests) == judges


def test_after_the_budget_is_spent_the_severity_is_the_relevance():
    result, requests = judged({"a": [new(0.5)], "b": [AGREE]}, budget=1)
    assert (result.relevance, requests) == (None, [])
    assert result.note == "relevance=severity skipped:2"
