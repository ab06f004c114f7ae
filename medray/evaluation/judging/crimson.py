"""CRIMSON (arXiv 2603.06183): errors of a report, weighted by what they mean for the patient.

The judge lists the abnormal findings of reference and report, grades each, matches them, and names
errors in the attributes of those that match. The score is 1 for a perfect report, 0 for one that
says no more than a normal template, below 0 if errors outweigh what is right:

    w    = 1 urgent, ½ actionable, ¼ not actionable, 0 expected      e = ½ significant, 0 negligible
    C    = Σ over matched reference findings of w · w / (w + Σ e of its attribute errors)
    F    = Σ w of the report's findings that match none              N = Σ w of the reference's
    score = (C − F) / N, and if that is below 0 −(F − C) / (1 + F − C)
    N = 0:  1 if F = 0, else −F / (1 + F)

Weights and formula are those of rajpurkarlab/CRIMSON @07e3331; there an unknown grade weighs ¼.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medray.editing.llm.completion import Dialogue
from medray.errors import ItemError
from medray.evaluation.judging.judge import Judge
from medray.evaluation.judging.metric import Item, JudgedMetric, Judgement
from medray.evaluation.judging.replies import CrimsonReply, GradedFinding, require_listed, value_of
from medray.evaluation.sums import ratio

GRADES = {"urgent": 1.0, "actionable": 0.5, "not actionable": 0.25, "expected": 0.0}
# As CRIMSON's own prompts, and models trained for them, call the last three.
GRADES |= {"actionable not urgent": 0.5, "not actionable not urgent": 0.25, "benign expected": 0.0}
SEVERITIES = {"significant": 0.5, "negligible": 0.0}
ATTRIBUTES = {
    name: name
    for name in (
        *("location", "severity", "descriptor", "measurement", "certainty", "unspecific"),
        *("overinterpretation", "temporal"),
    )
}


@dataclass(frozen=True, slots=True)
class Score:
    """`value` in (−1, 1]; the others are weighted errors of one report."""

    value: float
    false: float
    missing: float
    attributes: float


def score(
    reference: Sequence[float],
    predicted: Sequence[float],
    matches: Sequence[tuple[int, int]],
    errors: Mapping[int, float],
) -> Score:
    """Of the weights of both sides' findings, matching indices, and Σ e by reference index.

    >>> score([1.0, 0.5], [1.0, 0.25], [(0, 0)], {}).value  # (1 − ¼) / 1½
    0.5
    >>> score([], [0.5], [], {}).value
    -0.3333333333333333
    """
    right = {i for i, _ in matches}
    credit = sum(_credit(reference[i], errors.get(i, 0.0)) for i in sorted(right))
    false = sum(w for i, w in enumerate(predicted) if i not in {j for _, j in matches})
    missing = sum(w for i, w in enumerate(reference) if i not in right)
    total = sum(reference)
    if total == 0:
        value = 1.0 if false == 0 else -false / (1 + false)
    else:
        surplus = credit - false
        value = surplus / total if surplus >= 0 else surplus / (1 - surplus)
    return Score(value, false, missing, sum(errors.values()))


def _credit(weight: float, errors: float) -> float:
    return weight * weight / (weight + errors) if weight else 0.0


def read_score(reply: CrimsonReply) -> Score:
    """Raises ItemError if a grade is not known, or numbers do not fit the findings."""
    reference, predicted = (
        _weights(findings) for findings in (reply.reference_findings, reply.predicted_findings)
    )
    require_listed((*reply.matches, *reply.attribute_errors), len(reference), len(predicted))
    matches = [(match.reference - 1, match.predicted - 1) for match in reply.matches]
    errors: dict[int, float] = {}
    for error in reply.attribute_errors:
        index = error.reference - 1
        if (index, error.predicted - 1) not in matches:
            raise ItemError("llm-malformed", "an attribute of findings that do not match")
        value_of(error.attribute, ATTRIBUTES, "attribute")
        weight = value_of(error.severity, SEVERITIES, "severity")
        errors[index] = errors.get(index, 0.0) + weight
    return score(reference, predicted, matches, errors)


def _weights(findings: Sequence[GradedFinding]) -> list[float]:
    return [value_of(finding.significance, GRADES, "significance") for finding in findings]


def _nothing(judge: Judge, question: str, reference: str) -> Dialogue[None]:
    """CRIMSON reads reference and report in one request."""
    return
    yield {}


def _judge(judge: Judge, item: Item, _: None) -> Dialogue[Judgement]:
    inputs = {"question": item.question, "reference": item.reference, "report": item.answer}
    reply = yield from judge.ask("crimson", inputs, CrimsonReply)
    found = read_score(reply)
    statistics = {
        "crimson/score": found.value,
        "crimson/false": found.false,
        "crimson/missing": found.missing,
        "crimson/attributes": found.attributes,
        "crimson/reports": 1.0,
    }
    return Judgement(statistics, reply.model_dump())


CRIMSON = JudgedMetric(
    name="crimson",
    types=("report",),
    figures=(
        ratio("crimson", "crimson/score", "crimson/reports"),
        ratio("crimson.false_findings", "crimson/false", "crimson/reports"),
        ratio("crimson.missing_findings", "crimson/missing", "crimson/reports"),
        ratio("crimson.attribute_errors", "crimson/attributes", "crimson/reports"),
    ),
    of_reference=_nothing,
    of_answer=_judge,
)
