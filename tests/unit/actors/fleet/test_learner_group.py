"""The learner's ranks on real Ray actors that only sleep: turns, and what becomes of a death."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import ray

from actors.fleet.fleet import Fleet
from actors.fleet.learner_group import Ranks, RanksLost
from actors.fleet.placement import Placement
from actors.fleet.restarts import Faults
from actors.fleet.work import Golden, Update
from actors.weights.manifest import Manifest
from medray.config import Config
from medray.errors import RunFailed
from tests.support.processes.sleepers import Holder, Rank

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def run(scenario, world=2):
    """What `scenario(ranks)` gives, and what asyncio had to complain about."""
    complaints: list[str] = []
    rank = ray.remote(Rank)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        ranks = Ranks(lambda i: rank.options(num_cpus=0).remote(i), world, 60.0)
        try:
            async with asyncio.timeout(90):
                await ranks.start()
                return await scenario(ranks)
        finally:
            ranks.kill()

    return asyncio.run(main()), complaints


def test_a_later_call_waits_for_one_that_nobody_awaits():
    async def scenario(ranks):
        first = await ranks.begin("span", 0.5)
        second = await ranks.call("span", 0.0)
        assert first.done()
        return first.result(), second

    (first, second), complaints = run(scenario)
    assert max(end for _, end in first) <= min(begin for begin, _ in second)
    assert complaints == []


def test_a_death_is_told_to_whoever_awaits_and_ends_the_turn():
    async def scenario(ranks):
        pids = await ranks.call("pid")
        alone = await ranks.begin("span", 60.0)
        os.kill(pids[1], signal.SIGKILL)
        begin = time.monotonic()
        with pytest.raises(RanksLost, match=r"Learner\(rank=1\)"):
            await ranks.call("pid")
        assert isinstance(alone.exception(), RanksLost)
        return time.monotonic() - begin

    seconds, complaints = run(scenario)
    assert seconds < 30
    assert complaints == []


@asynccontextmanager
async def fleet_of(ranks: Ranks, ours: float) -> AsyncIterator[Fleet]:
    """A fleet with one generator that gives every golden token the log-probability `ours`."""
    config = Config.model_validate({"data": {"kind": "phantom"}})
    fleet = Fleet(config, Placement({}, {}, {}, {}, 0.0, 0.0), Faults(config.faults, print))
    holder = ray.remote(Holder)
    fleet.ranks, fleet.golden = ranks, Golden([], [], [], [])
    fleet.generators.spawn = lambda i: holder.options(num_cpus=0).remote(ours)
    async with fleet:
        fleet.generators.start()
        await fleet.generators.wait_ready()
        yield fleet


async def offered(fleet: Fleet, seconds: float) -> Update:
    """Weights that the generators are to take over while the ranks score for `seconds`."""
    golden = await fleet.ranks.begin("golden", seconds)
    update = Update(Manifest(1, "full", (), 0), [], golden)
    fleet.offer(update)
    return update


@pytest.mark.parametrize(("ours", "gap"), [(-1.0, 0.0), (-1.25, 0.25)])
def test_weights_count_as_taken_over_only_when_the_ranks_have_scored_them(ours, gap):
    async def scenario(ranks):
        async with fleet_of(ranks, ours) as fleet:
            begin = time.monotonic()
            update = await offered(fleet, 0.5)
            answer = asyncio.create_task(fleet.generators.run(lambda g, _: g.now.remote()))
            await fleet.taken_over(update)
            return update.gap, (await answer).value - begin

    (told, later), _ = run(scenario)
    assert told == pytest.approx(gap)
    assert later >= 0.5  # no answer before the proof


def test_weights_of_another_kind_end_the_run():
    async def scenario(ranks):
        async with fleet_of(ranks, -9.0) as fleet:
            with pytest.raises(RunFailed, match="logp_gap = 8"):
                await fleet.taken_over(await offered(fleet, 0.1))

    run(scenario)


def test_ranks_that_die_over_the_golden_set_leave_the_generators_well():
    async def scenario(ranks):
        async with fleet_of(ranks, -1.0) as fleet:
            pids = await ranks.call("pid")
            update = await offered(fleet, 60.0)
            os.kill(pids[0], signal.SIGKILL)
            with pytest.raises(RanksLost):
                await fleet.taken_over(update)
            assert np.isfinite((await fleet.generators.run(lambda g, _: g.now.remote())).value)
            return fleet.generators.ready, fleet.faults.restarts

    (ready, restarts), complaints = run(scenario)
    assert (ready, restarts) == (1, 0)
    assert complaints == []
