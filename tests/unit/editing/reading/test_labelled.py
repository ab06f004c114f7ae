"""Open answers of models that were labelled by reading: most wrong ones are found, no right one."""

from __future__ import annotations

import pytest

from tests.support.datasets.real_answers import labelled_open, verdict


@pytest.mark.parametrize("held_out", [False, True])
def test_most_wrong_open_answers_are_found(held_out: bool) -> None:
    rows = labelled_open(held_out=held_out)
    found = {
        label: [verdict(*triple).split()[0] for triple, given in rows if given == label]
        for label in ("wrong", "right", "no-claim")
    }
    assert found["wrong"].count("wrong") / len(found["wrong"]) >= 0.65
    assert found["wrong"].count("right") / len(found["wrong"]) <= 0.05
    assert found["right"].count("wrong") == 0
    assert found["no-claim"].count("abstain") / len(found["no-claim"]) >= 0.9


def test_the_labels_are_complete() -> None:
    rows = labelled_open()
    assert len(rows) >= 200
    assert len({triple for triple, _ in rows}) == len(rows)
    assert {label for _, label in rows} == {"wrong", "right", "partly", "no-claim"}
