"""Restarts are counted, by kind and cause, as they are charged."""

from __future__ import annotations

from actors.fleet.calls import ActorLost
from actors.fleet.pool import RestartBudget
from medray.config import FaultsConfig


def test_a_restart_is_counted_and_one_that_is_not_affordable_is_not():
    counted = []
    budget = RestartBudget(
        FaultsConfig(editor=1), lambda text: None, lambda *of: counted.append(of)
    )
    assert budget.spend("editor", "Editor(replica=0)", ActorLost("e", "died", "killed"))
    assert not budget.spend("editor", "Editor(replica=0)", ActorLost("e", "died", "killed"))
    budget.refund("editor", "died")
    assert counted == [("editor", "died")]
