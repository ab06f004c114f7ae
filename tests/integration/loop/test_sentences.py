"""Answers in paragraphs: several pairs of one answer, and going on behind what was corrected."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest

from tests.support.processes.killing import KINDS, Disturbed, fates, require_whole
from tests.support.processes.running import launch

# The quickstart has pairs per sentence, and rounds of an answer have unit tests.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

SHORT = (
    "configs/paragraphs.yaml",
    "loop.batch=12",
    "loop.checkpoint_every=1",
    "eval={every: 0, n: 4}",
)


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """Three steps in an overlapped loop, in which answers go on."""
    arguments = (*SHORT, "loop.steps=3", "loop.max_lag=1", "editor.continue=true")
    done = launch(tmp_path_factory.mktemp("sentences"), *arguments)
    assert done.code == 0, done.err
    return done


def test_answers_are_accounted_for_and_pairs_are_counted(continued):
    require_whole(continued, 3, lag=1)
    fates(continued)
    rows = continued.ledger()
    for line in continued.metrics():
        trained = [r for r in rows if r["step"] == line["step"] and r["status"] == "trained"]
        assert line["answers_trained"] == len({row["item_id"] for row in trained})
        assert line["pairs_trained"] == len(trained)
    assert sum(row["scope"] == "sentence" for row in rows) > 5


def test_an_answer_goes_on_behind_its_corrected_sentence(continued):
    by_item = defaultdict(list)
    for row in continued.ledger():
        if row["scope"] == "sentence" and not row["response_was_correct"]:
            by_item[row["item_id"]].append(row)
    followed = 0
    for rows in by_item.values():
        rows.sort(key=lambda row: len(row["prefix"]))
        assert rows[0]["response"].startswith(rows[0]["prefix"] + rows[0]["rejected"])
        for before, after in pairwise(rows):
            assert after["prefix"].startswith(before["prefix"] + before["chosen"])
            followed += 1
    assert followed > 0, "no answer had two wrong sentences: this test shows nothing"


@pytest.mark.timeout(1800)
def test_kills_between_the_pairs_of_an_answer(tmp_path):
    """Every kind of actor and the command, with several pairs an answer: each answer ends once."""
    steps = 12
    budget = tuple(f"faults.{kind}=100" for kind in ("generator", "editor", "learner"))
    arguments = (*SHORT, f"loop.steps={steps}", "editor.continue=true", *budget)
    disturbed = Disturbed(tmp_path, arguments, random.Random(3))
    disturbed.launch()
    for kind in KINDS:
        assert disturbed.wait_for_progress()
        disturbed.kill_one(kind)
    assert disturbed.wait_for_progress()
    disturbed.kill_command()
    disturbed.launch(resume=True)
    done = disturbed.finish(900)
    assert done.code == 0, done.out
    require_whole(done, steps, lag=0)
    assert len(fates(done)) >= steps * 12
