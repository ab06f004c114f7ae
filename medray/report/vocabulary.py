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
APPLIES = "applies"  # {figure: to how many answers it applies}, beside the figures of an evaluation
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
    asserted attributes for the rates of errors, or claims of the references; else answers to which
    the figure applies, where they were kept."""
    n_by = result.get("n_by") or {}
    if key.startswith(WRONG):
        return _counts(result, "by_error_type", "asserted").get(key.removeprefix(WRONG))
    if key == "hallucination_rate":
        return sum(_counts(result, "by_error_type", "asserted").values()) or None
    if key in ("omission_rate", "claim_recall"):
        return sum(_counts(result, "omissions_by_error_type", "known").values()) or None
    if key in _KINDS:
        counts = [n_by[kind] for kind in _KINDS[key] if kind in n_by]
        return sum(counts) if counts else None
    if key == "severity_weighted_errors":
        return result.get("answers")
    return (result.get(APPLIES) or {}).get(key)


_KINDS = {  # figure → the types of the answers that it is about
    **dict.fromkeys(("report_exact", "finding_f1"), ("report",)),
    **dict.fromkeys(("closed_accuracy", "calibration_error", "brier"), ("closed",)),
    **dict.fromkeys(("bleu_1", "bleu_2", "bleu_3", "bleu_4"), ("open", "report")),
    **dict.fromkeys(("rouge_l", "meteor"), ("open", "report")),
    "choice_accuracy": ("choice",),
    "open_recall": ("open",),
}


def _counts(result: Mapping[str, Any], table: str, column: str) -> dict[str, int]:
    """A column of a table by type; {} for evaluations that have none."""
    rows = result.get(table)
    return {
        kind: row[column]
        for kind, row in (rows.items() if isinstance(rows, Mapping) else ())
        if isinstance(row, Mapping) and column in row
    }
