"""What the judge may reply: shapes that are checked strictly, labels that are read folded.

A label is read whatever its case and whatever stands between its words, and only if it is one of
the known ones: another label is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field

from medray.editing.llm.replies import Reply
from medray.errors import ItemError

V = TypeVar("V")
MOST = 60  # facts or findings of one text; a model that talks nonsense must come to an end
Number = Annotated[int, Field(ge=1, le=MOST)]  # of a fact or finding, as listed
Words = Annotated[str, Field(min_length=1, max_length=400)]


def _label(*values: str) -> Any:
    """A field of a reply: any short text when it is read, one of these under a schema."""
    return Field(max_length=40, json_schema_extra={"enum": list(values)})


class JudgeReply(Reply):
    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})


class FactsReply(JudgeReply):
    facts: Annotated[tuple[Words, ...], Field(min_length=1, max_length=MOST)]


class FactLabel(JudgeReply):
    fact: Number
    label: Annotated[str, _label("entailment", "partial entailment", "contradiction", "neutral")]


class LabelsReply(JudgeReply):
    labels: Annotated[tuple[FactLabel, ...], Field(max_length=MOST)]


class GradedFinding(JudgeReply):
    finding: Words
    significance: Annotated[str, _label("urgent", "actionable", "not actionable", "expected")]


class Pairing(JudgeReply):
    """Two findings that are the same one, by their numbers."""

    reference: Number
    predicted: Number


class AttributeError_(Pairing):
    attribute: Annotated[
        str,
        _label(
            *("location", "severity", "descriptor", "measurement", "certainty", "unspecific"),
            *("overinterpretation", "temporal"),
        ),
    ]
    severity: Annotated[str, _label("significant", "negligible")]


class CrimsonReply(JudgeReply):
    reference_findings: Annotated[tuple[GradedFinding, ...], Field(max_length=MOST)]
    predicted_findings: Annotated[tuple[GradedFinding, ...], Field(max_length=MOST)]
    matches: Annotated[tuple[Pairing, ...], Field(max_length=2 * MOST)]
    attribute_errors: Annotated[tuple[AttributeError_, ...], Field(max_length=2 * MOST)]


class RadMatchFinding(JudgeReply):
    finding: Words
    status: Annotated[str, _label("normal", "abnormal")]
    significance: Annotated[str, _label("critical", "urgent", "notable", "routine")]
    comparison: Annotated[
        str, _label("none", "stable", "improving", "resolved", "worsening", "new")
    ]


class FindingsReply(JudgeReply):
    findings: Annotated[tuple[RadMatchFinding, ...], Field(max_length=MOST)]


class MatchError(JudgeReply):
    dimension: Annotated[
        str, _label("measurement", "location", "severity", "morphology", "certainty")
    ]
    grade: Annotated[str, _label("minor", "major")]


class RadMatchPairing(Pairing):
    errors: Annotated[tuple[MatchError, ...], Field(max_length=10)]


class MatchesReply(JudgeReply):
    matches: Annotated[tuple[RadMatchPairing, ...], Field(max_length=2 * MOST)]


@cache
def schema(kind: type[JudgeReply]) -> dict[str, Any]:
    """The JSON schema that a reply is constrained to, where a model can be."""
    return kind.model_json_schema()


def fold(label: str) -> str:
    """A label without its case and what joins its words.

    >>> fold(" Partial_Entailment "), fold("not-actionable")
    ('partial entailment', 'not actionable')
    """
    return " ".join(re.split(r"[\s_-]+", label.strip().casefold()))


def value_of(label: str, values: Mapping[str, V], what: str) -> V:
    """What a label stands for. Raises ItemError, which does not repeat it, if it is not known."""
    known = fold(label)
    if known not in values:
        raise ItemError("llm-malformed", f"{what}: an unknown label")
    return values[known]


def require_listed(pairings: Iterable[Pairing], references: int, predictions: int) -> None:
    """Raises ItemError if a pairing names a finding that is not listed."""
    for pairing in pairings:
        if pairing.reference > references or pairing.predicted > predictions:
            raise ItemError("llm-malformed", "a number without a finding")
