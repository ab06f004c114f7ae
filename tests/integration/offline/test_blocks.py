"""Offline and semi-online: several steps learn from what one policy said."""

import pytest

from tests.support.processes.running import Finished, launch, launch_and_kill, medray

# Blocks and kept answers have unit tests; offline/test_given_pairs.py runs offline.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

STEPS = 3
# But for the number of its steps and the size of its evaluations it is the quickstart.
SHORT = (f"loop.steps={STEPS}", "eval={every: 0, n: 16}", "loop.checkpoint_every=1")


@pytest.fixture(scope="module")
def offline(tmp_path_factory) -> Finished:
    options = ("loop.resample_every=0", *SHORT)
    done = launch(tmp_path_factory.mktemp("offline"), "configs/quickstart.yaml", *options)
    assert done.code == 0, done.err
    return done


def issued(done: Finished, last: int = STEPS) -> list[tuple[str, str]]:
    rows = (row for row in done.ledger() if row["step"] <= last)
    return sorted({(row["item_id"], row["case_id"]) for row in rows})


def answers_of(done: Finished, step: int) -> dict[str, str]:
    return {row["item_id"]: row["response"] for row in done.ledger() if row["step"] == step}


def test_the_starting_policy_answers_for_all_steps(offline):
    """Its answers are kept, and nothing is sent to the generators but to be evaluated."""
    assert {row["policy_version"] for row in offline.ledger() if row["response"]} == {0}
    assert [row["lag_max"] for row in offline.metrics()] == [0, 1, 2]
    assert {row["sync_bytes"] for row in offline.metrics()} == {0}
    kept = sorted(path.name for path in (offline.path / "answers").iterdir())
    assert kept == [f"step-{step:06d}.parquet" for step in range(1, STEPS + 1)]
    assert offline.evals()[STEPS]["policy_version"] == STEPS


def test_offline_and_online_differ_only_in_the_answers(offline, quickstart):
    """The same items and cases at every step, and in the first one the same answers and pairs."""
    assert issued(offline) == issued(quickstart, STEPS)
    assert answers_of(offline, 1) == answers_of(quickstart, 1)
    first, again = offline.metrics()[0], quickstart.metrics()[0]
    assert first["pairs_trained"] == again["pairs_trained"]
    assert first["loss"] == pytest.approx(again["loss"], rel=1e-3)
    assert answers_of(offline, STEPS) != answers_of(quickstart, STEPS)


def test_a_killed_block_goes_on_with_its_answers(tmp_path):
    """Killed in the middle of a block: the same answers, every item once."""
    options = ("loop.resample_every=2", *SHORT)
    undisturbed = launch(tmp_path / "undisturbed", "configs/quickstart.yaml", *options)
    assert undisturbed.code == 0, undisturbed.err
    done = medray(*launch_and_kill(tmp_path, "configs/quickstart.yaml", *options, rows=1))
    assert done.returncode == 0, done.stderr
    killed = Finished(0, "", "", tmp_path / "killed")
    assert issued(killed) == issued(undisturbed)
    for step in (1, 2):
        assert answers_of(killed, step) == answers_of(undisturbed, step)
    assert {row["policy_version"] for row in killed.ledger() if row["step"] == 3} == {2}
