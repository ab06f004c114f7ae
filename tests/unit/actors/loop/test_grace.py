"""What a run in a Ray job says about the time that it has to stop."""

from __future__ import annotations

import pytest

from actors.loop.stop import JOB_GRACE, OF_A_JOB, grace_note


def test_a_short_grace_is_named_beforehand():
    assert grace_note(60.0, {OF_A_JOB: "{}"}) == (
        "`ray job stop` kills this run after 3 s, faults.stop_within is 60 s: "
        "set RAY_JOB_STOP_WAIT_TIME_S before `ray start`"
    )
    assert "after 30 s" in grace_note(60.0, {OF_A_JOB: "{}", JOB_GRACE: "30"})


@pytest.mark.parametrize(
    "environment", [{}, {JOB_GRACE: "3"}, {OF_A_JOB: "{}", JOB_GRACE: "60"}], ids=str
)
def test_nothing_is_said_elsewhere(environment):
    assert grace_note(60.0, environment) == ""
