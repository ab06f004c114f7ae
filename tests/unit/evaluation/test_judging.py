"""Judged metrics, against a real endpoint on this machine and figures computed by hand."""

from __future__ import annotations

import json

import pytest

from medray.config import JudgeConfig
from medray.editing.llm.client import Client
from medray.evaluation.answer_files import answer_table
from medray.evaluation.judging import JUDGED, Judge, judge_answers, shared
from medray.evaluation.metrics import compare, score_answers, summarise
from medray.records import Case
from tests.support.processes.chat_server import ChatRequest, Say, serve

OPEN = [
    Case("a", "1.png", "1", "What is seen?", "A small effusion on the left.", "open"),
    Case("b", "2.png", "2", "Where is it?", "In the right lung.", "open"),
]
REPORT = [Case("r", "3.png", "3", "Describe.", "Large left pneumothorax.", "report")]
FACTS = {"facts": ["There is an effusion.", "It is small.", "It is on the left.", "It is one."]}


def stage(request: ChatRequest) -> str:
    """Which prompt a request has, by what it brings along."""
    return {
        ("question", "reference"): "facts",
        ("answer", "facts", "question"): "entailment",
        ("question", "reference", "report"): "crimson",
        ("question", "report"): "findings",
        ("predicted", "reference"): "matches",
    }[tuple(sorted(request.inputs))]


def by_stage(**replies):
    """A script that replies by prompt: always the same, or a function of the request's inputs."""

    def script(request: ChatRequest) -> Say:
        found = replies[stage(request)]
        found = found(request.inputs) if callable(found) else found
        return found if isinstance(found, Say) else Say(found)

    return script


def judged(script, cases, *answers, metrics=("nli",), **keys):
    """(rows by side, figures, notes by side, requests) of answers in the order of the cases."""
    sides = [
        score_answers(cases, dict(zip((c.case_id for c in cases), texts, strict=False)))
        for texts in answers
    ]
    with serve(script) as server:
        config = JudgeConfig(**{"url": server.url, "model": "m", "retries": 0, **keys})
        judge = Judge(config, Client(config))
        found = judge_answers(sides, [JUDGED[name] for name in metrics], judge)
    return (*found, server.requests)


def labels(*given):
    return {"labels": [{"fact": n, "label": text} for n, text in enumerate(given, 1) if text]}


# --- nli ---------------------------------------------------------------------------------------


def test_facts_are_labelled_and_averaged_over_answers():
    """By hand: a (1 + ½) / 4 and 1 / 4; b 1 / 2 and 1 / 2, two labels that cannot be read."""

    def of(inputs):
        if inputs["answer"] == "first":
            return labels("Entailment", "PARTIAL entailment", "contradiction", " Neutral")
        return labels("entailment", "likely", None, "Contradiction")

    sides, figures, notes, requests = judged(
        by_stage(facts=FACTS, entailment=of), OPEN, ("first", "second")
    )
    result = summarise(sides[0], figures)
    assert notes == [[]]
    assert result["nli.comprehensiveness"] == pytest.approx((1.5 / 4 + 1 / 2) / 2)
    assert result["nli.hallucination"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert result["nli.unreadable"] == 2 / 8
    assert result["intervals"]["nli.hallucination"] == [0.25, 0.5]
    table = answer_table(sides[0], figures)
    assert table["nli.comprehensiveness"].to_pylist() == [1.5 / 4, 1 / 2]
    kept = json.loads(table["nli.judgement"].to_pylist()[1])
    assert [fact["label"] for fact in kept] == ["entailment", None, None, "contradiction"]
    assert sorted(map(stage, requests)) == ["entailment"] * 2 + ["facts"] * 2


@pytest.mark.parametrize(
    "given",
    [
        [(1, "neutral"), (1, "entailment")],  # two labels for one fact
        [(1, "entails")],
        [(9, "entailment")],  # of no fact
        [],
    ],
)
def test_labels_are_never_guessed(given):
    reply = {"labels": [{"fact": n, "label": text} for n, text in given]}
    sides, figures, notes, _ = judged(by_stage(facts=FACTS, entailment=reply), OPEN, ("x", "y"))
    result = summarise(sides[0], figures)
    assert result["nli.comprehensiveness"] is None
    why = "2 of 2 answers have no judgement that can be read (llm-malformed 2)"
    assert notes == [[f"nli: {why}: its figures are without them"]]


def test_an_empty_answer_entails_nothing_and_is_not_asked_about():
    sides, figures, _, requests = judged(by_stage(facts=FACTS), OPEN, ("", "<think>oh</think>"))
    assert summarise(sides[0], figures)["nli.comprehensiveness"] == 0
    assert set(map(stage, requests)) == {"facts"}


def test_two_sides_are_measured_by_the_same_facts_and_compared_where_both_are_judged():
    def of(inputs):
        return {
            "right": labels(*["entailment"] * 4),
            "wrong": labels(*["contradiction"] * 4),
            "odd": Say("I would say that it is fine."),
        }[inputs["answer"]]

    sides, figures, notes, requests = judged(
        by_stage(facts=FACTS, entailment=of), OPEN, ("right", "wrong"), ("wrong", "odd")
    )
    assert [stage(request) for request in requests].count("facts") == 2
    assert [len(lines) for lines in notes] == [0, 1]
    assert summarise(sides[0], figures)["nli.comprehensiveness"] == 1 / 2
    ours, theirs = shared(*sides, [JUDGED["nli"]])
    difference = compare(ours, theirs, figures)["difference"]
    assert difference["nli.comprehensiveness"]["value"] == 1  # of "a" alone
    assert (
        difference["open_recall"]["value"] == compare(*sides)["difference"]["open_recall"]["value"]
    )


# --- crimson -----------------------------------------------------------------------------------


def finding(text, significance):
    return {"finding": text, "significance": significance}


def test_crimson_by_hand():
    """C = 1 · 1 / (1 + ½), F = 1, N = 1¾: F − C = ⅓, so −⅓ / (1 + ⅓) = −¼."""
    reply = {
        "reference_findings": [
            finding("pneumothorax", "URGENT"),
            finding("effusion", "actionable_not_urgent"),
            finding("granuloma", "not-actionable"),
            finding("calcified aorta", "expected"),
        ],
        "predicted_findings": [finding("pneumothorax", "urgent"), finding("mass", "Urgent")],
        "matches": [{"reference": 1, "predicted": 1}],
        "attribute_errors": [
            {"reference": 1, "predicted": 1, "attribute": "location", "severity": "significant"},
            {"reference": 1, "predicted": 1, "attribute": "temporal", "severity": "negligible"},
        ],
    }
    sides, figures, notes, _ = judged(by_stage(crimson=reply), REPORT, ("x",), metrics=["crimson"])
    result = summarise(sides[0], figures)
    assert notes == [[]]
    assert result["crimson"] == pytest.approx(-1 / 4)
    assert result["crimson.false_findings"] == 1
    assert result["crimson.missing_findings"] == 3 / 4
    assert result["crimson.attribute_errors"] == 1 / 2


@pytest.mark.parametrize(
    ("reference", "predicted", "matches", "expected"),
    [
        ([], [], [], 1.0),  # both normal
        (["urgent"], ["urgent"], [(1, 1)], 1.0),
        (["urgent"], [], [], 0.0),
        (["urgent"], ["expected"], [], 0.0),
        ([], ["expected"], [], 1.0),
        ([], ["actionable"], [], -1 / 3),
        (["urgent", "actionable"], ["urgent", "not actionable"], [(1, 1)], 0.5),
        (["actionable"], ["actionable", "actionable"], [(1, 1), (1, 2)], 1.0),  # one for two
        (["expected"], ["urgent"], [], -1 / 2),
    ],
)
def test_crimson_scores(reference, predicted, matches, expected):
    reply = {
        "reference_findings": [finding("x", grade) for grade in reference],
        "predicted_findings": [finding("x", grade) for grade in predicted],
        "matches": [{"reference": i, "predicted": j} for i, j in matches],
        "attribute_errors": [],
    }
    sides, figures, _, _ = judged(by_stage(crimson=reply), REPORT, ("x",), metrics=["crimson"])
    assert summarise(sides[0], figures)["crimson"] == pytest.approx(expected)


ONE = {"reference_findings": [finding("x", "urgent")], "predicted_findings": [], "matches": []}


@pytest.mark.parametrize(
    "reply",
    [
        ONE,  # a list is missing
        ONE | {"attribute_errors": [], "matches": [{"reference": 1, "predicted": 1}]},
        ONE | {"attribute_errors": [], "matches": [{"reference": 0, "predicted": 1}]},
        ONE | {"attribute_errors": [], "reference_findings": [finding("x", "serious")]},
        ONE | {"attribute_errors": [], "reference_findings": [finding("", "urgent")]},
    ],
)
def test_crimson_without_sense_is_counted(reply):
    _, _, notes, _ = judged(by_stage(crimson=reply), REPORT, ("x",), metrics=["crimson"])
    assert "1 of 1 answers have no judgement that can be read (llm-malformed 1)" in notes[0][0]


# --- radmatch ----------------------------------------------------------------------------------


def listed(text, significance, status="abnormal", comparison="none"):
    return {
        "finding": text,
        "status": status,
        "significance": significance,
        "comparison": comparison,
    }


def test_radmatch_by_hand():
    """Reference: a pneumothorax (a minor error: credited), an effusion (denied: wrong), a cyst
    (matches nothing), a normal heart (contradicted by a notable claim). Report: also a mass."""
    known = [
        listed("left pneumothorax", "Critical"),
        listed("effusion", "urgent"),
        listed("cyst", "notable"),
        listed("normal heart", "routine", "normal"),
    ]
    given = [
        listed("pneumothorax", "critical"),
        listed("no effusion", "routine", "NORMAL"),
        listed("large heart", "notable"),
        listed("mass", "urgent"),
    ]
    pairs = [
        {"reference": 1, "predicted": 1, "errors": [{"dimension": "location", "grade": "minor"}]},
        {"reference": 2, "predicted": 2, "errors": []},
        {"reference": 4, "predicted": 3, "errors": []},
    ]
    script = by_stage(
        findings=lambda inputs: {"findings": given if inputs["report"] == "x" else known},
        matches={"matches": pairs},
    )
    sides, figures, notes, requests = judged(script, REPORT, ("x",), metrics=["radmatch"])
    result = summarise(sides[0], figures)
    assert notes == [[]]
    assert result["radmatch.missed"] == 2  # effusion, cyst
    assert result["radmatch.unsupported"] == 2  # mass, large heart
    assert result["radmatch.actionable_errors"] == 4
    assert result["radmatch.triage_errors"] == 2  # effusion, mass
    assert result["radmatch.critical_errors"] == 0
    assert result["radmatch.recall"] == 1 / 3
    assert result["radmatch.precision"] == 1 / 3
    assert [stage(request) for request in requests] == ["findings", "findings", "matches"]


@pytest.mark.parametrize(
    ("known", "given", "errors", "wrong"),
    [
        (("urgent", "abnormal", "none"), ("urgent", "abnormal", "none"), [], False),
        (("urgent", "abnormal", "none"), ("urgent", "normal", "none"), [], True),
        (("urgent", "abnormal", "new"), ("urgent", "abnormal", "worsening"), [], False),
        (("urgent", "abnormal", "new"), ("urgent", "abnormal", "stable"), [], True),
        (("urgent", "abnormal", "new"), ("urgent", "abnormal", "none"), [], True),
        (("urgent", "abnormal", "stable"), ("urgent", "abnormal", "none"), [], False),
        (("urgent", "abnormal", "none"), ("urgent", "abnormal", "new"), [], False),
        (("urgent", "abnormal", "none"), ("urgent", "abnormal", "none"), ["major"], True),
        (("urgent", "abnormal", "none"), ("urgent", "abnormal", "none"), ["minor"], False),
        (("critical", "abnormal", "none"), ("critical", "abnormal", "none"), ["minor"], True),
    ],
)
def test_what_makes_a_match_wrong(known, given, errors, wrong):
    """The errors are of certainty: on a critical finding even a minor one counts."""

    def one(inputs):
        significance, status, comparison = given if inputs["report"] == "x" else known
        return {"findings": [listed("f", significance, status, comparison)]}

    found = [{"dimension": "certainty", "grade": grade} for grade in errors]
    pairs = {"matches": [{"reference": 1, "predicted": 1, "errors": found}]}
    script = by_stage(findings=one, matches=pairs)
    sides, figures, _, _ = judged(script, REPORT, ("x",), metrics=["radmatch"])
    assert summarise(sides[0], figures)["radmatch.missed"] == float(wrong)


def test_one_right_match_of_several_credits_a_finding():
    known, given = ["both effusions"], ["left effusion", "right effusion"]
    script = by_stage(
        findings=lambda inputs: {
            "findings": [listed(f, "urgent") for f in (given if inputs["report"] == "x" else known)]
        },
        matches={
            "matches": [
                {
                    "reference": 1,
                    "predicted": n,
                    "errors": [{"dimension": "severity", "grade": grade}],
                }
                for n, grade in ((1, "major"), (2, "minor"))
            ]
        },
    )
    sides, figures, _, _ = judged(script, REPORT, ("x",), metrics=["radmatch"])
    result = summarise(sides[0], figures)
    assert (result["radmatch.actionable_errors"], result["radmatch.recall"]) == (0, 1)
    assert result["radmatch.precision"] == 1 / 2
