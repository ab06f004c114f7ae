"""All actors of a run as one: placed, spawned, called, restarted.

`fleet` is the only file that knows every kind of actor; `pool` keeps replicas at work,
`learner_group` keeps ranks together, `rollouts` turns cases into pairs.
"""

from actors.fleet.cases import BrokenCases
from actors.fleet.fleet import Fleet
from actors.fleet.growth import placement_in_time
from actors.fleet.items import CanaryPrompts, EditedBatch, Item, StepRollout, Unusable, WeightUpdate
from actors.fleet.learner_group import LearnersLost
from actors.fleet.placement import Placement, plan_placement, this_machine
from actors.fleet.pool import RestartBudget
from actors.fleet.rollouts import Rollouts

__all__ = [
    "BrokenCases",
    "CanaryPrompts",
    "EditedBatch",
    "Fleet",
    "Item",
    "LearnersLost",
    "Placement",
    "RestartBudget",
    "Rollouts",
    "StepRollout",
    "Unusable",
    "WeightUpdate",
    "placement_in_time",
    "plan_placement",
    "this_machine",
]
