"""Answers to cases, and what is known of each once it is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medray.evaluation.sums import Statistics
from medray.records import Case, VerdictName


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by case_id. `confidences`: of some of them, in [0, 1]; a yes or no needs one for its
    calibration."""

    texts: dict[str, str]
    confidences: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One scored answer: the editor's verdict on it, and its statistics.

    `judgements`: what a judge said of it, as JSON, by the name of the metric.
    """

    case: Case
    answer: str
    verdict: VerdictName
    statistics: Statistics
    confidence: float | None = None
    judgements: Mapping[str, str] = field(default_factory=dict)


def cluster_of(case: Case) -> tuple[str, str]:
    """What an answer is resampled with: its patient where known, else its image."""
    if case.patient_id:
        return "patient", case.patient_id
    return "image", case.image_sha256 or case.image
