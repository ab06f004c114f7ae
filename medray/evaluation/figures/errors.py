"""Errors among the attributes that answers assert, by type and by severity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medray.editing.ontology.lexicon import ontology
from medray.evaluation.assertion import Assertion
from medray.evaluation.sums import ratio


def error_statistics(asserted: Sequence[Assertion]) -> dict[str, float]:
    """Statistics of one answer, from all attributes that it asserts."""
    wrong = [assertion for assertion in asserted if assertion.contradicted]
    counts = Counter(f"asserted/{assertion.error_type}" for assertion in asserted)
    counts.update(f"contradicted/{assertion.error_type}" for assertion in wrong)
    severity = ontology().severity
    result = {name: float(count) for name, count in counts.items()}
    result |= {
        "asserted": float(len(asserted)),
        "contradicted": float(len(wrong)),
        "severity": float(sum(severity[assertion.error_type] for assertion in wrong)),
        "answers": 1.0,
    }
    for name, kind in (("laterality", "side"), ("negation", "presence")):
        if counts[f"asserted/{kind}"]:
            result[f"{name}/answers"] = 1.0
            result[f"{name}/wrong"] = float(counts[f"contradicted/{kind}"] > 0)
    return result


# hallucination_rate: contradicted attributes / asserted attributes
# laterality_error_rate: answers with a contradicted side / answers that assert a side
# negation_error_rate: answers that affirm a finding that is absent or deny one that is there /
# answers that affirm or deny a finding
# severity_weighted_errors: Σ severity of the contradicted attributes / answers
FIGURES = (
    ratio("hallucination_rate", "contradicted", "asserted"),
    ratio("laterality_error_rate", "laterality/wrong", "laterality/answers"),
    ratio("negation_error_rate", "negation/wrong", "negation/answers"),
    ratio("severity_weighted_errors", "severity", "answers"),
)
