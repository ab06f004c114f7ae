"""Training targeted at the errors that the policy makes, which are counted. Off by default.

pairs of a step ──classify_errors──▶ Tally ──targets──▶ ErrorTargets
which affect the cases (`draw`), the wrong variant (`targeted_editor`) and v' (`corruption`)
"""

from medray.targeting.classify_errors import ErrorObservation, case_types, classify_errors
from medray.targeting.error_targets import EditContext, ErrorTargets, targeted_editor
from medray.targeting.sampling import draw
from medray.targeting.tally import Counts, Tally

__all__ = [
    "Counts",
    "EditContext",
    "ErrorObservation",
    "ErrorTargets",
    "Tally",
    "case_types",
    "classify_errors",
    "draw",
    "targeted_editor",
]
