"""The learner group on real Ray actors that only sleep: turns, and the death of a rank."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import ray

from actors.fleet import Fleet, LearnersLost, Placement, RestartBudget, WeightUpdate
from actors.fleet import fleet as fleet_module
from actors.fleet.items import CanaryPrompts
from actors.fleet.learner_group import LearnerGroup
from actors.weights.manifest import Manifest
from medray.config import Config
from medray.errors import DiskFault, ModelError, RunFailed
from tests.support.processes.sleepers import Holder, Rank

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def run(scenario, world=2):
    """What `scenario(group)` returns, and what asyncio complained about."""
    complaints: list[str] = []
    rank = ray.remote(Rank)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        group = LearnerGroup(lambda i: rank.options(num_cpus=0).remote(i), world, 60.0)
        try:
            async with asyncio.timeout(90):
                await group.start()
                return await scenario(group)
        finally:
            group.kill()

    return asyncio.run(main()), complaints


def test_a_later_call_waits_for_one_that_nobody_awaits():
    async def scenario(group):
        first = await group.begin("span", 0.5)
        second = await group.call("span", 0.0)
        assert first.done()
        return first.result(), second

    (first, second), complaints = run(scenario)
    assert max(end for _, end in first) <= min(begin for begin, _ in second)
    assert complaints == []


def test_a_death_reaches_every_caller_and_ends_the_turn():
    async def scenario(group):
        pids = await group.call("pid")
        alone = await group.begin("span", 60.0)
        os.kill(pids[1], signal.SIGKILL)
        begin = time.monotonic()
        with pytest.raises(LearnersLost, match=r"Learner\(rank=1\)"):
            await group.call("pid")
        assert isinstance(alone.exception(), LearnersLost)
        return time.monotonic() - begin

    seconds, complaints = run(scenario)
    assert seconds < 30
    assert complaints == []


@asynccontextmanager
async def fleet_of(
    group: LearnerGroup, logp: float, stands_still: int | None = None, **faults: float
) -> AsyncIterator[Fleet]:
    """A fleet with one generator that gives every canary token the log-probability `logp`; the
    first one never adopts weights of the version `stands_still`."""
    config = Config.model_validate({"data": {"kind": "phantom"}, "faults": faults})
    spawned: list[int] = []

    def spawn(replica: int) -> Any:
        spawned.append(replica)
        arguments = (logp, stands_still if len(spawned) == 1 else None)
        return holder.options(num_cpus=0).remote(*arguments)

    fleet = Fleet(
        config, Placement({}, {}, {}, {}, {}, 0.0, 0.0), RestartBudget(config.faults, print)
    )
    holder = ray.remote(Holder)
    fleet.learners, fleet.canaries = group, CanaryPrompts([], [], [], [])
    fleet.generators.spawn = spawn
    async with fleet:
        fleet.generators.start()
        await fleet.generators.wait_ready()
        yield fleet


async def offered(fleet: Fleet, seconds: float, version: int = 1) -> WeightUpdate:
    """Weights that the generators adopt while the ranks score the canaries for `seconds`."""
    canary_logps = await fleet.learners.begin("score_canaries", seconds)
    update = WeightUpdate(Manifest(version, "full", (), 0), [], canary_logps)
    fleet.offer(update)
    return update


@pytest.mark.parametrize(("logp", "gap"), [(-1.0, 0.0), (-1.25, 0.25)])
def test_weights_are_adopted_only_when_the_ranks_have_scored_them(logp, gap):
    async def scenario(group):
        async with fleet_of(group, logp) as fleet:
            begin = time.monotonic()
            update = await offered(fleet, 0.5)
            job = asyncio.create_task(fleet.generators.run(lambda g, _: g.now.remote()))
            await fleet.wait_adopted(update)
            return update.logp_gap, (await job).value - begin

    (found, later), _ = run(scenario)
    assert found == pytest.approx(gap)
    assert later >= 0.5  # no job before the proof


def test_weights_that_differ_end_the_run():
    async def scenario(group):
        async with fleet_of(group, -9.0) as fleet:
            with pytest.raises(RunFailed, match="logp_gap = 8"):
                await fleet.wait_adopted(await offered(fleet, 0.1))

    run(scenario)


def test_a_generator_that_stands_still_over_later_weights_is_replaced_after_the_deadline(
    monkeypatch,
):
    monkeypatch.setattr(fleet_module, "ADOPTIONS", 1)

    async def scenario(group):
        async with fleet_of(group, -1.0, stands_still=2, deadline=1.0) as fleet:
            await fleet.wait_adopted(await offered(fleet, 0.0))
            begin = time.monotonic()
            await fleet.wait_adopted(await offered(fleet, 0.0, version=2))
            return time.monotonic() - begin, fleet.generators.ready, fleet.budget.restarts

    (seconds, ready, restarts), _ = run(scenario)
    assert 1.0 <= seconds < 120.0  # not ten minutes
    assert (ready, restarts) == (1, 1)


def test_ranks_that_die_while_scoring_leave_the_generators_intact():
    async def scenario(group):
        async with fleet_of(group, -1.0) as fleet:
            pids = await group.call("pid")
            update = await offered(fleet, 60.0)
            os.kill(pids[0], signal.SIGKILL)
            with pytest.raises(LearnersLost):
                await fleet.wait_adopted(update)
            assert np.isfinite((await fleet.generators.run(lambda g, _: g.now.remote())).value)
            return fleet.generators.ready, fleet.budget.restarts

    (ready, restarts), complaints = run(scenario)
    assert (ready, restarts) == (1, 0)
    assert complaints == []


def start(trouble: str, times: int = 1) -> list[RunFailed | ModelError]:
    """What starting ranks with a trouble raises, once and again."""
    rank = ray.remote(Rank)

    async def main():
        group = LearnerGroup(lambda i: rank.options(num_cpus=0).remote(i, trouble), 1, 60.0)
        errors = []
        for _ in range(times):
            with pytest.raises((RunFailed, ModelError)) as caught:
                await group.start()
            errors.append(caught.value)
            group.kill()
        return errors

    return asyncio.run(main())


def test_ranks_that_die_as_they_start_are_started_twice_and_no_more():
    first, second = start("dies", 2)
    assert isinstance(first, LearnersLost)
    assert not isinstance(second, LearnersLost)
    assert "died 2 times in a row as it started" in str(second)


def test_a_model_that_cannot_be_loaded_is_the_cause():
    (error,) = start("model")
    assert isinstance(error, ModelError)
    assert "cannot be loaded" in str(error)


def test_a_full_disk_is_the_cause():
    async def scenario(group):
        with pytest.raises(DiskFault, match="step-1: the disk is full"):
            await group.call("save", "step-1")
        return await group.call("pid")

    assert len(run(scenario)[0]) == 2
