"""Kills while answers have several pairs: an item ends once, in all of its pairs or in none."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.support.processes.killing import KINDS, Disturbed, fates, require_whole

# A run that is killed four times; test_faults.py has the kills of a run with few pairs an answer.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

STEPS = 8
SMALL = (
    *("configs/paragraphs.yaml", "eval.n=4", "eval.every=0", "data.limit=300", "loop.batch=32"),
    *(f"loop.steps={STEPS}", "loop.checkpoint_every=2"),
)


def test_every_pair_of_an_answer_ends_with_it(tmp_path):
    run = Disturbed(tmp_path, SMALL, random.Random(1))
    run.launch()
    for kind in KINDS:
        assert run.wait_for_progress(600)
        run.kill_one(kind)
    assert run.wait_for_progress(600)
    run.kill_command()
    run.launch(resume=True)
    done = run.finish(900)
    assert done.code == 0, done.out
    assert {*run.kills} == {*KINDS, "Driver"}
    require_whole(done, STEPS, lag=0)
    assert len(fates(done)) == STEPS * 32
    pairs = Counter(row["item_id"] for row in done.ledger() if row["status"] == "trained")
    assert max(pairs.values()) > 1
