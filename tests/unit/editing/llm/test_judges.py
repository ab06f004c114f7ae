"""Judges in sequence: consensus, five rounds, and those who talk nonsense."""

from __future__ import annotations

import pytest

from medray.config import EditorConfig
from medray.editing.llm import Judged, Task
from medray.editing.llm.editor import LLMEditor
from tests.support.processes.chat_server import Asked, Say, serve
from tests.unit.editing.llm.test_llm_editor import QUESTION, REFERENCE, WRONG, change, reply

AGREE = {"agree": True, "score": None, "reason": "so it is"}


def new(score: float) -> dict:
    return {"agree": False, "score": score, "reason": "not so"}


def judged(replies: dict[str, list], **keys) -> tuple[Judged, list[Asked]]:
    """The outcome for one wrong answer, and what the judges were asked, in order.

    `replies`: what each judge says, turn by turn.
    """

    def script(asked: Asked) -> Say:
        if asked.prompt != "relevance":
            return reply("wrong", change())
        said = replies[asked.body["model"]].pop(0)
        return said if isinstance(said, Say) else Say(said)

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
        (outcome,) = LLMEditor(config).edit_many([Task(QUESTION, REFERENCE, WRONG)])
    assert isinstance(outcome, Judged)
    return outcome, [a for a in server.asked if a.prompt == "relevance"]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def names(asked: list[Asked]) -> list[str]:
    return [a.body["model"] for a in asked]


def test_without_judges_there_is_no_score():
    outcome, asked = judged({})
    assert (outcome.relevance, outcome.note, asked) == (None, "", [])


def test_one_judge_is_a_consensus():
    outcome, asked = judged({"a": [new(0.25)]})
    assert outcome.relevance == 0.25
    assert outcome.note == "relevance=judges/1 rounds:1 skipped:0 consensus:yes"
    assert asked[0].inputs == {
        "question": QUESTION,
        "reference": REFERENCE,
        "correct": REFERENCE,
        "incorrect": WRONG,
        "earlier": [],
    }


def test_all_others_have_to_agree():
    outcome, asked = judged({"a": [new(0.5)], "b": [AGREE], "c": [AGREE]})
    assert names(asked) == ["a", "b", "c"]
    assert outcome.relevance == 0.5
    assert "rounds:3 skipped:0 consensus:yes" in outcome.note


def test_a_new_score_stands_until_the_others_agree_and_the_mean_counts():
    outcome, asked = judged({"a": [new(0.5), AGREE], "b": [new(1.0)], "c": [AGREE]})
    assert names(asked) == ["a", "b", "c", "a"]
    assert [a.inputs["earlier"] for a in asked] == [[], [0.5], [0.5, 1.0], [0.5, 1.0]]
    assert outcome.relevance == 0.75
    assert "consensus:yes" in outcome.note


def test_who_agreed_with_an_older_score_is_asked_about_the_new_one():
    outcome, asked = judged({"a": [new(0.5), AGREE], "b": [AGREE, AGREE], "c": [new(0.7)]})
    assert names(asked) == ["a", "b", "c", "a", "b"]
    assert outcome.relevance == pytest.approx(0.6)
    assert "rounds:5 skipped:0 consensus:yes" in outcome.note


def test_five_rounds_at_most_then_the_mean():
    said = {"a": [new(0.0), new(0.4), new(0.8)], "b": [new(1.0), new(0.3)]}
    outcome, asked = judged(said)
    assert names(asked) == ["a", "b", "a", "b", "a"]
    assert outcome.relevance == pytest.approx((0.0 + 1.0 + 0.4 + 0.3 + 0.8) / 5)
    assert outcome.note == "relevance=judges/1 rounds:5 skipped:0 consensus:no"


def test_the_same_score_again_is_agreement():
    outcome, asked = judged({"a": [new(0.5)], "b": [new(0.5)]})
    assert (outcome.relevance, len(asked)) == (0.5, 2)
    assert "consensus:yes" in outcome.note


@pytest.mark.parametrize(
    "nonsense",
    ["seven", new(7), {"agree": True}, {"score": "high"}, Say(status=404), Say(status=500)],
)
def test_a_judge_without_a_usable_reply_is_left_out_and_counted(nonsense):
    said = {"a": [nonsense], "b": [new(0.5), AGREE], "c": [new(0.7)], "d": [AGREE]}
    outcome, asked = judged(said)
    assert names(asked) == ["a", "b", "c", "d", "b"]
    assert outcome.relevance == pytest.approx(0.6)
    assert outcome.note == "relevance=judges/1 rounds:4 skipped:1 consensus:yes"


def test_agreement_with_nothing_is_no_score():
    said = {"a": [AGREE], "b": [new(0.5), AGREE], "c": [new(0.7)]}
    outcome, asked = judged(said)
    assert names(asked) == ["a", "b", "c", "b"]
    assert outcome.relevance == pytest.approx(0.6)
    assert "rounds:3 skipped:1 consensus:yes" in outcome.note


@pytest.mark.parametrize("judges", [1, 3])
def test_only_nonsense_leaves_relevance_to_the_severity(judges):
    outcome, asked = judged({f"j{i}": ["nonsense"] for i in range(judges)})
    assert outcome.edit.verdict == "wrong", "the pair is made all the same"
    assert outcome.relevance is None
    assert outcome.note == f"relevance=severity skipped:{judges}"
    assert len(asked) == judges


def test_a_spent_budget_leaves_the_pair_its_severity():
    outcome, asked = judged({"a": [new(0.5)], "b": [AGREE]}, budget=1)
    assert (outcome.relevance, asked) == (None, [])
    assert outcome.note == "relevance=severity skipped:2"
