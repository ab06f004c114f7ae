"""Training aimed at the errors that the policy makes: counted, then followed. Off by default.

pairs of a step ──observe──▶ Tally ──aim──▶ Aim ──▶ cases asked (`draw`), kind of variant
                                                    (`aimed_editor`), kind of v' (`Aim.corruption`)
"""

from medray.targeting.classify_errors import Observation, case_types, observe
from medray.targeting.error_targets import Aim, aimed_editor
from medray.targeting.sampling import draw
from medray.targeting.tally import Counts, Tally

__all__ = [
    "Aim",
    "Counts",
    "Observation",
    "Tally",
    "aimed_editor",
    "case_types",
    "draw",
    "observe",
]
