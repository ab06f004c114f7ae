"""What the figures are called: in the terminal, in the reports, and in the tables of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVAL_METRICS = {  # key → (label, whether higher is better)
    "report_exact": ("Reports right in every attribute", True),
    "closed_accuracy": ("Closed questions answered right", True),
    "choice_accuracy": ("Multiple choice answered right", True),
    "open_recall": ("Open answers: recall of the reference", True),
    "finding_f1": ("Findings: F1", True),
    "hallucination_rate": ("Hallucination rate", False),
    "omission_rate": ("Omission rate", False),
    "laterality_error_rate": ("Answers on the wrong side", False),
    "negation_error_rate": ("Answers that invent or deny a finding", False),
    "severity_weighted_errors": ("Severity of the errors per answer", False),
    "claim_f1": ("Claims shared with the reference: F1", True),
    "calibration_error": ("Calibration error of yes and no", False),
}
OTHER_METRICS = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "unread": "Sentences out of the phantoms' grammar",
    "claim_precision": "Claims shared with the reference: precision",
    "claim_recall": "Claims shared with the reference: recall",
    "brier": "Brier score of yes and no",
}
NO_FRACTIONS = {"severity_weighted_errors"}  # of the figures: these are not percentages
WRONG = "wrong "  # and an error type: the share of contradicted ones among the asserted
ERROR_TYPES = {
    "presence": "a finding invented or denied",
    "kind": "another finding",
    "side": "left and right",
    "zone": "upper, middle and lower zone or lobe",
    "size": "small, moderate and large",
    "organ": "another organ",
    "modality": "X-ray, CT, MR, …",
    "plane": "the plane or the view",
    "grade": "how severe or how old",
    "attribute": "heart, density, borders and the like",
}


def label(key: str) -> str:
    """A figure of an evaluation as people read it; other keys stay as they are.

    >>> label("finding_f1"), label("wrong side"), label("radeval:radgraph")
    ('Findings: F1', 'Wrong: side', 'radeval:radgraph')
    """
    if key in EVAL_METRICS:
        return EVAL_METRICS[key][0]
    if key.startswith(WRONG):
        return f"Wrong: {key.removeprefix(WRONG)}"
    return OTHER_METRICS.get(key, key)


def is_percentage(key: str) -> bool:
    """Whether a figure is shown as a percentage: all known fractions are."""
    return key not in NO_FRACTIONS and label(key) != key


def count_behind(key: str, result: Mapping[str, Any]) -> int | None:
    """What a figure was measured on, as far as its evaluation tells: answers of its kind, or
    asserted attributes for the rates of errors."""
    kinds = {"report_exact": "report", "finding_f1": "report", "closed_accuracy": "closed"}
    kinds |= {"choice_accuracy": "choice", "open_recall": "open", "brier": "closed"}
    kinds |= {"calibration_error": "closed"}
    by_type = result.get("by_error_type")
    asserted = {
        kind: row["asserted"]
        for kind, row in (by_type.items() if isinstance(by_type, Mapping) else ())
        if isinstance(row, Mapping) and "asserted" in row
    }
    if key.startswith(WRONG):
        return asserted.get(key.removeprefix(WRONG))
    if key == "hallucination_rate" and asserted:
        return sum(asserted.values())
    if key == "omission_rate":
        omitted = result.get("omissions_by_error_type")
        known = omitted.values() if isinstance(omitted, Mapping) else ()
        return sum(row["known"] for row in known) or None
    if key in kinds:
        return (result.get("n_by") or {}).get(kinds[key])
    return result.get("answers")
