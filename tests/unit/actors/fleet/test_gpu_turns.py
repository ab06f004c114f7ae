"""One GPU for an engine and a learner: two models never load or wake beside each other.

The fleet and its actors' processes are real; the actors hold no model but a file that stands for
the GPU's memory, and fail as CUDA does if another process has it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import ray

from actors.fleet import Fleet, LearnersLost, Placement, RestartBudget
from medray.config import Config
from tests.support.processes.shared_gpu import Engine, Student
from tests.support.processes.sleepers import Rank

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


@asynccontextmanager
async def started(folder) -> AsyncIterator[Fleet]:
    values = {"data": {"kind": "phantom"}, "generator": {"colocated": True}}
    config = Config.model_validate(values)
    placement = Placement({}, {}, {}, {}, {"CPU": 1}, 0.0, 0.0)
    fleet = Fleet(config, placement, RestartBudget(config.faults, print))

    def spawn(kind):
        return ray.remote(kind).options(num_cpus=0, max_restarts=0).remote(folder)

    fleet.generators.spawn = lambda _: spawn(Engine)
    fleet.learners.spawn = lambda _: spawn(Student)
    fleet.editors.spawn = lambda _: spawn(Rank)
    async with asyncio.timeout(200), fleet:
        await fleet.start()
        yield fleet


async def generate(fleet: Fleet) -> str:
    await fleet.turns.to_generators()
    return (await fleet.generators.run(lambda engine, _: engine.generate.remote())).value


def events(folder) -> list[str]:
    return (folder / "log").read_text().splitlines()


STARTED = ["engine takes", "engine leaves", "learner takes", "learner leaves"]


def test_they_start_one_after_the_other_and_take_turns(tmp_path):
    async def scenario():
        async with started(tmp_path) as fleet:
            for _ in range(2):
                assert await generate(fleet) == "text"
                await fleet.turns.to_learners()
                await fleet.turns.to_learners()  # as for `restore`, then `learn`

    asyncio.run(scenario())
    turn = ["engine takes", "engine leaves", "learner takes"]
    assert events(tmp_path) == [*STARTED, *turn, "learner leaves", *turn]


def test_an_engine_that_dies_while_learners_work_starts_after_them(tmp_path):
    async def scenario():
        async with started(tmp_path) as fleet:
            await fleet.turns.to_learners()
            pid, *_ = await fleet.generators.each(lambda engine, _: engine.pid.remote())
            os.kill(pid, signal.SIGKILL)
            await fleet.generators.each(lambda engine, _: engine.sleep.remote())  # it is noticed
            await asyncio.sleep(1.0)
            assert events(tmp_path)[-1] == "learner takes"
            assert await generate(fleet) == "text"
            return fleet.budget.restarts

    assert asyncio.run(scenario()) == 1
    assert events(tmp_path) == [*STARTED, "learner takes", "learner leaves", "engine takes"]


def test_learners_that_die_are_replaced_beside_a_sleeping_engine(tmp_path):
    async def scenario():
        async with started(tmp_path) as fleet:
            await generate(fleet)
            await fleet.turns.to_learners()
            pid, *_ = await fleet.learners.call("pid")
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(LearnersLost):
                await fleet.learners.call("pid")
            await fleet.restart_learners()
            assert await generate(fleet) == "text"

    asyncio.run(scenario())
    assert not [line for line in events(tmp_path) if "found" in line]
    assert events(tmp_path)[-3:] == ["learner takes", "learner leaves", "engine takes"]


def test_an_engine_that_cannot_sleep_is_replaced_and_learners_have_its_memory(tmp_path):
    async def scenario():
        async with started(tmp_path) as fleet:
            await generate(fleet)
            (tmp_path / "sleepless").touch()
            await fleet.turns.to_learners()
            assert await generate(fleet) == "text"
            return fleet.budget.restarts

    assert asyncio.run(scenario()) == 1
    turns = ["engine takes", "learner takes", "learner leaves", "engine takes"]
    assert events(tmp_path) == [*STARTED, *turns]
