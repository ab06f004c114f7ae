"""Learners that stop and go on: bit-equal on as many ranks, within rounding on others."""

import json
import time

import pytest
import ray
import torch
from ray.exceptions import RayActorError, RayTaskError
from safetensors.torch import load_file

from tests.support.datasets.pairs import phantom_batch
from tests.support.processes.learners import (
    call,
    config,
    dismiss,
    exported,
    kill,
    loss_of,
    shares_of,
    start,
    step,
)

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

BEFORE, AFTER = 2, 2  # steps before and after the checkpoint
LORA = "model.lora={rank: 4, alpha: 8}"
BF16 = "model.dtype=bfloat16"
DROPOUT = "model.lora={rank: 4, alpha: 8, dropout: 0.3}"
FULL = ("model.lora=null", "model.trainable=[language, projector]", "learner.weight_decay=0.1")


def given(world: int, stage: int, *overrides: str):
    return config(f"learner.world_size={world}", f"learner.zero_stage={stage}", *overrides)


def run(learners: list, first: int, steps: int) -> list[float]:
    """The loss of each step, on another batch each."""
    losses = []
    for version in range(first, first + steps):
        reports = step(learners, version, phantom_batch(seed=version))
        assert not any(report.skipped for report in reports)
        losses.append(loss_of(reports))
    return losses


def stop_and_go_on(first, second, folder):
    """(uninterrupted losses, weights), (the same after a checkpoint of `first` in `second`)."""
    reports = run(learners := start(first), 0, BEFORE + AFTER)
    straight = reports[BEFORE:], exported(learners)
    run(learners := start(first), 0, BEFORE)
    call(learners, "save", str(folder))
    saved = exported(learners)
    learners = start(second)
    assert call(learners, "load", str(folder)) == [BEFORE] * len(learners)
    assert_equal(exported(learners), saved)
    assert_masters_are_the_weights(learners, folder)
    return straight, (run(learners, BEFORE, AFTER), exported(learners))


def assert_equal(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert [n for n in one if not torch.equal(one[n], other[n])] == []


def assert_masters_are_the_weights(learners: list, folder) -> None:
    """On every rank, what the forward pass reads is the saved master, rounded once."""
    masters = {}
    for file in folder.glob("rank-*.safetensors"):
        masters |= {k.rpartition("/")[0]: v for k, v in load_file(file).items() if "/fp32" in k}
    dtype = ray.get(learners[0].dtype.remote())
    for weights in ray.get([host.weights.remote() for host in learners]):
        assert_equal(weights, {name: v.to(dtype).float() for name, v in masters.items()})


SAME = [(2, 2, (BF16, DROPOUT))]
MORE = [
    *((1, 2, (BF16, DROPOUT)), (2, 2, ("model.dtype=float32", DROPOUT))),
    *((1, stage, ("model.dtype=float32", DROPOUT)) for stage in (0, 2, 3)),
    *((1, stage, (BF16, DROPOUT)) for stage in (0, 3)),
    *((2, stage, (BF16, DROPOUT)) for stage in (0, 3)),
    *((2, stage, ("model.dtype=float32", DROPOUT)) for stage in (0, 3)),
    (1, 1, (BF16, LORA)),
    *((1, stage, (BF16, *FULL)) for stage in (0, 2, 3)),
    *((2, 3, (dtype, *FULL)) for dtype in (BF16, "model.dtype=float32")),
    (1, 2, (BF16, LORA, "learner.offload=optimizer")),
    (2, 3, (BF16, DROPOUT, "learner.offload=all")),
]
SAME += [pytest.param(*way, marks=pytest.mark.chaos) for way in MORE]


@pytest.mark.parametrize(("world", "stage", "overrides"), SAME, ids=str)
def test_the_same_ranks_go_on_bit_by_bit(tmp_path, world, stage, overrides):
    cfg = given(world, stage, *overrides)
    straight, resumed = stop_and_go_on(cfg, cfg, tmp_path / "learner")
    assert resumed[0] == straight[0]
    assert_equal(resumed[1], straight[1])


@pytest.mark.chaos  # test_faults.py kills learners in a run
@pytest.mark.parametrize("world", [1, 2])
def test_killed_learners_go_on_bit_by_bit(tmp_path, world):
    """SIGKILL to every rank in the middle of a step; new processes go on from the checkpoint."""
    cfg = given(world, 2, BF16, DROPOUT)
    dismiss(world)
    reports = run(learners := start(cfg), 0, BEFORE + AFTER)
    straight = exported(learners)
    run(learners := start(cfg), 0, BEFORE)
    call(learners, "save", str(tmp_path / "learner"))
    pids = ray.get([host.pid.remote() for host in learners])
    batch = phantom_batch(seed=BEFORE)
    steps = range(BEFORE, BEFORE + 100)  # more than can be done before the kill
    shares = shares_of(learners, batch)
    under_way = [
        [host.call.remote("step", n, share, *own) for n in steps]
        for host, (share, own) in zip(learners, shares, strict=True)
    ]
    time.sleep(1.0)
    kill(learners, pids)
    for *_, last in under_way:
        with pytest.raises(RayActorError):
            ray.get(last)
    learners = start(cfg)
    assert not set(ray.get([host.pid.remote() for host in learners])) & set(pids)
    assert call(learners, "load", str(tmp_path / "learner")) == [BEFORE] * world
    assert run(learners, BEFORE, AFTER) == reports[BEFORE:]
    assert_equal(exported(learners), straight)


MOVES = [((2, 2), (1, 3), LORA)]
MORE_MOVES = [
    ((2, 2), (1, 2), LORA),
    ((1, 3), (2, 3), *FULL),
    ((1, 2), (2, 2), *FULL),
    ((2, 3), (1, 3), LORA),
    ((1, 2), (1, 3), LORA),
    ((2, 2), (2, 3), *FULL),
    ((2, 3), (1, 0), LORA),
    ((1, 0), (2, 2), *FULL),
]
ALL_MOVES = [(a, b, t) for a, b, *t in MOVES]
ALL_MOVES += [pytest.param(a, b, t, marks=pytest.mark.chaos) for a, b, *t in MORE_MOVES]


@pytest.mark.parametrize(("one", "other", "tuning"), ALL_MOVES, ids=str)
def test_other_ranks_and_stages_go_on_within_rounding(tmp_path, one, other, tuning):
    """Sums run in another order: losses 1e-6 relative, weights 1e-5 after two steps of 1e-3.

    Seen: 8e-8 and 4e-7.
    """
    folder = tmp_path / "learner"
    straight, resumed = stop_and_go_on(given(*one, *tuning), given(*other, *tuning), folder)
    assert resumed[0] == pytest.approx(straight[0], rel=1e-6)
    for name, expected in straight[1].items():
        assert (resumed[1][name] - expected).abs().max() < 1e-5, name


@pytest.mark.chaos
def test_bfloat16_moves_as_well(tmp_path):
    """Losses within bf16's resolution, as between its stages."""
    folder = tmp_path / "learner"
    straight, resumed = stop_and_go_on(given(2, 3, BF16, LORA), given(1, 0, BF16, LORA), folder)
    assert resumed[0] == pytest.approx(straight[0], rel=5e-3)


def test_dropout_on_other_ranks_is_drawn_anew_and_always_alike(tmp_path):
    one, two = given(1, 2, DROPOUT), given(2, 2, DROPOUT)
    run(learners := start(one), 0, BEFORE)
    call(learners, "save", str(tmp_path / "learner"))
    losses = []
    for _ in range(2):
        call(learners := start(two), "load", str(tmp_path / "learner"))
        losses.append(run(learners, BEFORE, AFTER))
    assert losses[0] == losses[1]


def test_a_learner_that_has_not_stepped_can_be_saved(tmp_path):
    """Every step so far was skipped."""
    cfg = given(1, 2, LORA)
    call(learners := start(cfg), "save", str(tmp_path / "learner"))
    straight = run(learners, 0, 2)
    learners = start(cfg)
    assert call(learners, "load", str(tmp_path / "learner")) == [0]
    assert run(learners, 0, 2) == straight


def test_every_rank_writes_its_share(tmp_path):
    """Parameter i in the file of rank i % 2; all of them once, with both moments."""
    call(learners := start(given(2, 3, LORA)), "save", str(tmp_path))
    content = json.loads((tmp_path / "state.json").read_text())
    assert (content["version"], content["steps"], content["ranks"]) == (0, 0, 2)
    names, _ = ray.get([host.weights.remote() for host in learners])
    names = list(names)
    assert [content["parameters"][n]["file"] for n in names] == [
        f"rank-{i % 2:03d}-00.safetensors" for i in range(len(names))
    ]
    for rank in range(2):
        found = load_file(tmp_path / f"rank-{rank:03d}-00.safetensors")
        keys = ("fp32", "exp_avg", "exp_avg_sq")
        assert found.keys() == {f"{name}/{key}" for name in names[rank::2] for key in keys}
        assert {value.dtype for value in found.values()} == {torch.float32}
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (("model.lora={rank: 8, alpha: 8}",), r"of shape \[4, .* there and of shape \[8, .* here"),
        (("model.lora={rank: 4, targets: [projector]}",), r"absent there"),
        (FULL, r"absent there"),
    ],
    ids=["rank", "targets", "full"],
)
def test_the_state_of_another_model_is_refused(tmp_path, other, reason):
    call(start(given(1, 2, LORA)), "save", str(tmp_path / "learner"))
    learners = start(given(1, 2, *other))
    before = exported(learners)
    with pytest.raises(RayTaskError, match=rf"RunFailed.*of another model: .* {reason}"):
        call(learners, "load", str(tmp_path / "learner"))
    assert_equal(exported(learners), before)
    run(learners, 0, 1)


@pytest.mark.parametrize(
    ("world", "tuning"), [(2, FULL), pytest.param(1, (LORA,), marks=pytest.mark.chaos)]
)
def test_a_learner_that_leaves_the_gpu_in_between_learns_the_same(world, tuning, tmp_path):
    """As under generator.colocated; here memory is the host's anyway, but the way is the same."""
    cfg = given(world, 2, BF16, *tuning)
    straight = run(learners := start(cfg), 0, 2), exported(learners)
    learners = start(cfg)
    losses = []
    for version in range(2):
        losses += run(learners, version, 1)
        call(learners, "rest")
        call(learners, "resume")
    assert losses == straight[0]
    assert_equal(exported(learners), straight[1])
    call(learners, "save", str(tmp_path / "state"))
