"""Weight updates over the object store: what arrives, what is refused, who may die."""

import os
import signal
import time

import numpy as np
import pytest
import ray
from ray.exceptions import RayActorError

from actors.weights import manifest as weights
from medray.errors import RunFailed
from tests.support.processes.generators import (
    SIZES,
    begin,
    call,
    generate,
    move,
    new_host,
    packed,
    pictures_of,
    policy_of,
    requests,
    shared_host,
    update_of,
)

pytestmark = [pytest.mark.ray, pytest.mark.vllm]

PICTURES = pictures_of(SIZES)


@pytest.fixture(scope="module")
def host():
    return shared_host()


@pytest.fixture
def small_shards(monkeypatch):
    """As many shards as a large model has; layers are cut in two."""
    monkeypatch.setattr(weights, "SHARD_BYTES", 10_000)


@pytest.fixture
def full(host, tiny_llava, small_shards):
    """(policy, configuration, a way to ask) of a fresh engine in mode full."""
    return begin(host, tiny_llava, "full", PICTURES)


def tokens(host, version):
    responses = generate(host, version, requests(len(SIZES)), True, *PICTURES)
    return [response.token_ids for response in responses]


def test_weights_may_go_back_and_come_again(host, full):
    policy, cfg, agreed = full
    old, first, answers = policy_of(cfg), agreed(policy, 0), tokens(host, 0)
    move(policy, ("",), 1)
    manifest, shards = update_of(policy, "full", 5)
    assert len(shards) > 3
    assert call(host, "update", manifest, shards) > 0
    assert np.abs(agreed(policy, 5) - first).mean() > 0.1
    for version in (2, 2):
        call(host, "update", *update_of(old, "full", version))
        assert np.abs(agreed(old, version) - first).max() < 1e-3
        assert tokens(host, version) == answers
    call(host, "update", *packed(policy, "full", 3))  # shards themselves, as from a checkpoint
    assert np.abs(agreed(policy, 3) - first).mean() > 0.1


def test_another_run_begins_with_the_weights_of_the_files(host, full):
    """As a new engine would, to the last bit, and with that run's settings."""
    policy, cfg, agreed = full
    old, first, answers = policy_of(cfg), agreed(policy, 0), tokens(host, 0)
    for _ in range(2):
        move(policy, ("",), 1)
        call(host, "update", *packed(policy, "full", 5))
        assert np.abs(agreed(policy, 5) - first).mean() > 0.1
        generator = cfg.generator.model_copy(update={"max_new_tokens": 5})
        call(host, "reset", cfg.model_copy(update={"generator": generator}))
        assert np.array_equal(agreed(old, 0), first)
        assert tokens(host, 0) == [ids[:5] for ids in answers]


def test_another_run_begins_without_an_adapter(host, tiny_llava):
    policy, cfg, agreed = begin(host, tiny_llava, "adapter", PICTURES)
    old, first = policy_of(cfg), agreed(policy, 0)
    move(policy, ("",), 1)
    call(host, "update", *packed(policy, "adapter", 1))
    assert np.abs(agreed(policy, 1) - first).mean() > 0.1
    call(host, "reset", cfg)
    assert np.array_equal(agreed(old, 0), first)
    call(host, "update", *packed(policy, "adapter", 1))
    assert np.abs(agreed(policy, 1) - first).mean() > 0.1


def test_an_adapter_may_come_twice_under_one_version(host, tiny_llava, small_shards):
    policy, _, agreed = begin(host, tiny_llava, "adapter", PICTURES)
    previous = agreed(policy, 0)
    for number, version in enumerate((4, 4, 1)):
        move(policy, ("",), number)
        manifest, shards = update_of(policy, "adapter", version)
        assert len(shards) > 1
        call(host, "update", manifest, shards)
        now = agreed(policy, version)
        assert np.abs(now - previous).mean() > 0.1
        previous = now


def damage(name, shards):
    """One bit of one tensor."""
    for shard in shards:
        if name in shard:
            shard[name] = shard[name].copy()
            shard[name].reshape(-1).view(np.uint8)[7] ^= 1


@pytest.mark.chaos  # an engine of its own
@pytest.mark.parametrize("mode", ["full", "adapter"])
def test_a_flipped_bit_leaves_an_engine_that_refuses_work(tiny_llava, small_shards, mode):
    """In a process of its own, which nothing else can use: vLLM's layers share parts there."""
    host = new_host()
    policy, _, _ = begin(host, tiny_llava, mode, PICTURES)
    move(policy, ("",), 1)
    manifest, shards = packed(policy, mode, 1)
    name = manifest.shards[-1][0].name  # the others are in place by then
    assert len(shards) > 1
    damage(name, shards)
    with pytest.raises(RunFailed, match=f"{name}: checksum differs"):
        call(host, "update", manifest, [ray.put(shard) for shard in shards])
    for version in (0, 1):
        with pytest.raises(RunFailed, match=f"a mixture of versions 0 and 1.*{name}"):
            tokens(host, version)
        with pytest.raises(RunFailed, match="holds a mixture"):
            call(host, "score", version, requests(1), [[300]], PICTURES[0])
    with pytest.raises(RunFailed, match="holds a mixture"):
        call(host, "update", *update_of(policy, mode, 2))
    ray.kill(host)


def test_a_missing_shard_is_noticed(host, tiny_llava, small_shards):
    policy, _, _ = begin(host, tiny_llava, "adapter", PICTURES)
    manifest, shards = update_of(policy, "adapter", 1)
    with pytest.raises(RunFailed, match=f"{len(shards) - 1} of {len(shards)} shards arrived"):
        call(host, "update", manifest, shards[:-1])
    with pytest.raises(RunFailed, match="holds a mixture"):
        tokens(host, 0)


def giver_class():
    """An actor that gives weights away as a learner does."""

    class Giver:
        def __init__(self, shards):
            self.shards = shards

        def give(self):
            return tuple({n: a.copy() for n, a in shard.items()} for shard in self.shards)

        def hang(self):
            time.sleep(600)

        def pid(self):
            return os.getpid()

    return Giver


def kill(actor):
    """SIGKILL, and time for Ray to notice."""
    os.kill(ray.get(actor.pid.remote()), signal.SIGKILL)
    with pytest.raises(RayActorError):
        ray.get(actor.pid.remote())


def test_what_a_learner_returned_outlives_it(host, full):
    policy, _, agreed = full
    move(policy, ("",), 1)
    manifest, shards = packed(policy, "full", 1)
    giver = ray.remote(giver_class()).options(num_cpus=0).remote(shards)
    given = giver.give.options(num_returns=len(shards)).remote()
    ray.wait(given, num_returns=len(given), fetch_local=False)
    kill(giver)
    call(host, "update", manifest, given)
    agreed(policy, 1)


def test_a_shard_that_is_lost_is_named(host, tiny_llava, small_shards):
    policy, _, _ = begin(host, tiny_llava, "adapter", PICTURES)
    manifest, shards = packed(policy, "adapter", 1)
    giver = ray.remote(giver_class()).options(num_cpus=0).remote(shards)
    never = giver.hang.remote()
    ray.kill(giver)
    with pytest.raises(RunFailed, match=f"shard 2 of {len(shards)}: ActorDiedError"):
        call(host, "update", manifest, [shards[0], never, *shards[2:]])
    with pytest.raises(RunFailed, match="holds a mixture"):
        tokens(host, 0)


@pytest.mark.chaos  # an engine of its own; test_faults.py kills generators in a run
def test_a_generator_killed_in_an_update_harms_no_other(host, full):
    policy, cfg, agreed = full
    other = new_host()
    ray.get(other.start.remote(cfg))
    pid = ray.get(other.pid.remote())
    move(policy, ("",), 1)
    manifest, shards = update_of(policy, "full", 1)

    @ray.remote(num_cpus=0)
    def never():
        time.sleep(600)

    waiting = other.call.remote("update", manifest, [shards[0], never.remote(), *shards[2:]])
    time.sleep(2)  # it has the first shard by now
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RayActorError):
        ray.get(waiting)
    call(host, "update", manifest, shards)
    agreed(policy, 1)
