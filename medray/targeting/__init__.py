"""Training aimed at the errors that the policy makes: counted, then followed. Off by default.

pairs of a step ──classify_errors──▶ Tally ──targets──▶ ErrorTargets
which decide the cases (`draw`), the wrong variant (`targeted_editor`) and v' (`corruption`)
"""

from medray.targeting.classify_errors import ErrorObservation, case_types, classify_errors
from medray.targeting.error_targets import ErrorTargets, targeted_editor
from medray.targeting.sampling import draw
from medray.targeting.tally import Counts, Tally

__all__ = [
    "Counts",
    "ErrorObservation",
    "ErrorTargets",
    "Tally",
    "case_types",
    "classify_errors",
    "draw",
    "targeted_editor",
]
