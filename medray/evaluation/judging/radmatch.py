"""RadMatch (Corbière et al., ECCV workshops 2026): errors of a report, finding by finding.

The judge lists the findings of reference (once) and report, normal ones too, each with a status,
a significance and a course; matches them, many to many; and names errors of the matches. A match is
wrong if the status differs, if an error is major, or if a critical finding is hedged otherwise. A
reference finding is credited if one of its matches is not wrong. For a tier of significance:

    missed      = findings of the tier that match none or are not credited
    unsupported = the report's findings of the tier that match none, and reference findings outside
                  the tier that are not credited and that one of the tier is matched to
    errors      = missed + unsupported

The definitions are those of raidium-med/RadMatch @1378ab4. There errors are graded in requests of
their own, with examples, and measurements by thresholds; here the judge grades measurements, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from medray.editing.llm.completion import Dialogue
from medray.errors import ItemError
from medray.evaluation.judging.judge import Judge
from medray.evaluation.judging.metric import Item, JudgedMetric, Judgement
from medray.evaluation.judging.replies import (
    FindingsReply,
    MatchesReply,
    RadMatchFinding,
    RadMatchPairing,
    require_listed,
    value_of,
)
from medray.evaluation.sums import ratio

TIERS = {
    "actionable": {"critical", "urgent", "notable"},
    "triage": {"critical", "urgent"},
    "critical": {"critical"},
}
_SIGNIFICANCE = {name: name for name in ("critical", "urgent", "notable", "routine")}
_STATUS = {name: name for name in ("normal", "abnormal")}
# Course of a finding → whether it is active; None: nothing is stated
_COURSES: dict[str, bool | None] = {
    "none": None,
    "stable": False,
    "improving": False,
    "resolved": False,
    "worsening": True,
    "new": True,
}
_DIMENSIONS = {
    name: name for name in ("measurement", "location", "severity", "morphology", "certainty")
}
_GRADES = {"minor": False, "major": True}


@dataclass(frozen=True, slots=True)
class Finding:
    """`active`: whether it is new or worse; None if nothing is stated about its course."""

    text: str
    status: str
    significance: str
    active: bool | None


@dataclass(frozen=True, slots=True)
class Match:
    """Indices of two findings, and whether the predicted one is wrong about the other."""

    reference: int
    predicted: int
    wrong: bool


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one report on one tier; `reference` and `predicted`: its findings on either side, and
    `recalled` and `credited` those of them that are right."""

    missed: int
    unsupported: int
    reference: int
    recalled: int
    predicted: int
    credited: int


def count_errors(
    reference: Sequence[Finding],
    predicted: Sequence[Finding],
    matches: Sequence[Match],
    tier: set[str],
) -> Errors:
    """The errors of a report on one tier."""
    right = [match for match in matches if not match.wrong]
    recalled, credited = {m.reference for m in right}, {m.predicted for m in right}
    partners: dict[int, list[int]] = {}
    for match in matches:
        partners.setdefault(match.reference, []).append(match.predicted)
    supported = {match.predicted for match in matches}
    known = {i for i, finding in enumerate(reference) if finding.significance in tier}
    given = {j for j, finding in enumerate(predicted) if finding.significance in tier}
    contradicting = [
        i
        for i, others in partners.items()
        if i not in known and i not in recalled and given.intersection(others)
    ]
    return Errors(
        missed=len(known - recalled),
        unsupported=len(given - supported) + len(contradicting),
        reference=len(known),
        recalled=len(known & recalled),
        predicted=len(given),
        credited=len(given & credited),
    )


def read_finding(given: RadMatchFinding) -> Finding:
    """Raises ItemError if a label is not known."""
    return Finding(
        given.finding,
        value_of(given.status, _STATUS, "status"),
        value_of(given.significance, _SIGNIFICANCE, "significance"),
        value_of(given.comparison, _COURSES, "comparison"),
    )


def read_match(
    given: RadMatchPairing, reference: Sequence[Finding], predicted: Sequence[Finding]
) -> Match:
    """Raises ItemError if a label is not known."""
    known, other = reference[given.reference - 1], predicted[given.predicted - 1]
    errors = [
        (
            value_of(error.dimension, _DIMENSIONS, "dimension"),
            value_of(error.grade, _GRADES, "grade"),
        )
        for error in given.errors
    ]
    wrong = (
        known.status != other.status
        or _course_is_wrong(known.active, other.active)
        or any(major for _, major in errors)
        or (known.significance == "critical" and any(name == "certainty" for name, _ in errors))
    )
    return Match(given.reference - 1, given.predicted - 1, wrong)


def _course_is_wrong(known: bool | None, given: bool | None) -> bool:
    """Whether active and benign are exchanged, or an active course is left out."""
    if known is None or given is None:
        return known is True
    return known != given


def _of_reference(judge: Judge, question: str, reference: str) -> Dialogue[tuple[Finding, ...]]:
    return (yield from _findings(judge, question, reference))


def _findings(judge: Judge, question: str, text: str) -> Dialogue[tuple[Finding, ...]]:
    if not text.strip():
        return ()
    inputs = {"question": question, "report": text}
    reply = yield from judge.ask("findings", inputs, FindingsReply)
    return tuple(read_finding(finding) for finding in reply.findings)


def _judge(judge: Judge, item: Item, reference: tuple[Finding, ...]) -> Dialogue[Judgement]:
    predicted = yield from _findings(judge, item.question, item.answer)
    matches: list[Match] = []
    if reference and predicted:
        inputs = {"reference": _numbered(reference), "predicted": _numbered(predicted)}
        reply = yield from judge.ask("matches", inputs, MatchesReply)
        require_listed(reply.matches, len(reference), len(predicted))
        matches = [read_match(given, reference, predicted) for given in reply.matches]
        if len({(m.reference, m.predicted) for m in matches}) < len(matches):
            raise ItemError("llm-malformed", "two findings are matched twice")
    statistics = {"radmatch/reports": 1.0}
    for name, tier in TIERS.items():
        found = count_errors(reference, predicted, matches, tier)
        statistics[f"radmatch/{name}"] = float(found.missed + found.unsupported)
        if name == "actionable":
            counts = {field: float(getattr(found, field)) for field in Errors.__slots__}
            statistics |= {f"radmatch/{field}": count for field, count in counts.items()}
    sides = {"reference": reference, "predicted": predicted}
    record = {side: [asdict(finding) for finding in found] for side, found in sides.items()}
    pairs = [
        {"reference": m.reference + 1, "predicted": m.predicted + 1, "wrong": m.wrong}
        for m in matches
    ]
    return Judgement(statistics, {**record, "matches": pairs})


def _numbered(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [{"number": n, "finding": finding.text} for n, finding in enumerate(findings, 1)]


RADMATCH = JudgedMetric(
    name="radmatch",
    types=("report",),
    figures=(
        ratio("radmatch.actionable_errors", "radmatch/actionable", "radmatch/reports"),
        ratio("radmatch.triage_errors", "radmatch/triage", "radmatch/reports"),
        ratio("radmatch.critical_errors", "radmatch/critical", "radmatch/reports"),
        ratio("radmatch.missed", "radmatch/missed", "radmatch/reports"),
        ratio("radmatch.unsupported", "radmatch/unsupported", "radmatch/reports"),
        ratio("radmatch.recall", "radmatch/recalled", "radmatch/reference"),
        ratio("radmatch.precision", "radmatch/credited", "radmatch/predicted"),
    ),
    of_reference=_of_reference,
    of_answer=_judge,
)
