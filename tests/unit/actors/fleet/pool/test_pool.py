"""The pool on real Ray actors that only sleep: kills, hangs, stragglers, newcomers."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
import ray

from actors.fleet.calls import ActorLost
from actors.fleet.pool import Pool, RestartBudget
from actors.fleet.pool import replicas as pool_module
from medray.config import FaultsConfig
from medray.errors import DataError, DiskFault, RunFailed
from tests.support.processes.sleepers import Worker

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def run(scenario, size=2, broken=False, adopt=None, seats=0, **limits):
    """Run `scenario(pool)` on a fresh pool; its result, and the announced lines."""
    lines: list[str] = []
    worker = ray.remote(Worker)

    async def main():
        budget = RestartBudget(FaultsConfig(**limits), lines.append)
        pool = Pool(
            "generator",
            "Generator",
            size,
            lambda i: worker.options(
                num_cpus=0, max_restarts=0, resources={"seat": 1} if seats else {}
            ).remote(i, broken),
            budget,
            adopt,
        )
        pool.start()
        try:
            async with asyncio.timeout(90):
                await pool.wait_ready()
                return await scenario(pool)
        finally:
            await pool.close()

    return asyncio.run(main()), lines


async def many(pool, count, seconds):
    return await asyncio.gather(
        *[pool.run(lambda a, _, i=i: a.work.remote(i, seconds)) for i in range(count)]
    )


def test_jobs_go_to_idle_replicas():
    """One replica is ten times slower, so it gets a fraction of the work."""

    async def scenario(pool):
        calls = [pool.run(lambda a, _, i=i: a.slow_where.remote(i, 0, 0.5)) for i in range(40)]
        return [answer.value for answer in await asyncio.gather(*calls)]

    values, lines = run(scenario)
    assert [item for item, *_ in values] == list(range(40))
    assert 1 <= sum(index == 0 for _, index, _ in values) <= 10
    assert lines == []


def test_a_killed_replica_returns_and_no_job_is_lost_or_done_twice(tmp_path):
    async def scenario(pool):
        path = str(tmp_path / "calls")
        jobs = asyncio.create_task(many(pool, 10, 0.05))
        died = await pool.run(lambda a, _: a.die.remote(path, 2))
        answers = await jobs
        await pool.wait_ready()
        return died.value, [a.value[0] for a in answers], pool.ready

    (calls, items, ready), lines = run(scenario)
    assert calls == 3
    assert items == list(range(10))
    assert ready == 2
    assert len(lines) == 2
    assert all("died: its process ended unexpectedly" in line for line in lines)
    assert [line.split("; ")[-1] for line in lines] == ["restart 1 of 8", "restart 2 of 8"]


def test_without_budget_the_others_continue(tmp_path):
    async def scenario(pool):
        died = await pool.run(lambda a, _: a.die.remote(str(tmp_path / "calls"), 1))
        answers = await many(pool, 6, 0.0)
        return died.value, {a.value[1] for a in answers}, pool.ready

    (calls, used, ready), lines = run(scenario, generator=0)
    assert (calls, len(used), ready) == (2, 1, 1)
    assert "not restarted, faults.generator = 0" in lines[0]


def test_when_nobody_is_left_everyone_is_told(tmp_path):
    async def scenario(pool):
        jobs = [pool.run(lambda a, _: a.die.remote(str(tmp_path / "calls"), 99)) for _ in range(3)]
        return await asyncio.gather(*jobs, return_exceptions=True), pool

    (errors, _), _ = run(scenario, generator=1)
    assert all(isinstance(error, RunFailed) for error in errors)
    assert "no Generator is left" in str(errors[0])


def test_a_stuck_replica_is_replaced():
    async def scenario(pool):
        first = [True]

        def submit(actor, _):
            seconds, first[0] = (600.0 if first[0] else 0.0), False
            return actor.work.remote("x", seconds)

        return (await pool.run(submit)).value[0]

    item, lines = run(scenario, deadline=10.0)  # time enough for a healthy one on a busy machine
    assert item == "x"
    assert len(lines) == 1
    assert "stuck: no answer within 10 s" in lines[0]


def test_a_job_that_breaks_two_replicas_is_given_up():
    async def scenario(pool):
        with pytest.raises(ActorLost, match="CUDA error"):
            await pool.run(lambda a, _: a.crash.remote())
        return (await pool.run(lambda a, _: a.work.remote(1))).value[0]

    item, lines = run(scenario)
    assert item == 1
    assert len(lines) == 2


def test_what_the_method_says_of_its_input_is_passed_on():
    async def scenario(pool):
        with pytest.raises(DataError, match="item 7"):
            await pool.run(lambda a, _: a.refuse.remote())
        return pool.ready

    assert run(scenario) == (2, [])


def test_an_actor_that_cannot_start_ends_the_run_at_once():
    async def scenario(pool):
        raise AssertionError("it never became ready")

    with pytest.raises(RunFailed, match="ValueError: no such model"):
        run(scenario, broken=True)


def test_an_actor_that_dies_as_it_starts_is_started_twice_and_no_more():
    """A model that is larger than the memory: eight more attempts would end the same way."""

    async def scenario(pool):
        raise AssertionError("it never became ready")

    with pytest.raises(RunFailed, match=r"its start failed 2 times in a row: .* check the memory"):
        run(scenario, size=1, broken="dies")


def test_a_full_disk_is_the_cause_and_costs_no_restart():
    async def scenario(pool):
        with pytest.raises(DiskFault, match="adapter: the disk is full"):
            await pool.run(lambda a, _: a.fill_disk.remote())
        return pool.ready

    assert run(scenario, size=1) == (1, [])


def test_a_straggler_is_done_by_another_and_counted_once(monkeypatch):
    monkeypatch.setattr(pool_module, "MIN_STRAGGLER", 0.5)

    async def scenario(pool):
        await many(pool, 6, 0.0)
        calls = [pool.run(lambda a, _, i=i: a.slow_where.remote(i, 0, 20.0)) for i in range(4)]
        begin = time.monotonic()
        answers = await asyncio.gather(*calls)
        return [a.value for a in answers], time.monotonic() - begin, pool.repeated

    (values, seconds, repeated), lines = run(scenario)
    assert [item for item, *_ in values] == [0, 1, 2, 3]
    assert {index for _, index, _ in values} == {1}
    assert seconds < 15
    assert repeated == 1
    assert lines == []


def test_no_job_runs_on_an_older_state(tmp_path):
    """Offers come while jobs run, and a replica is killed: it takes over before it works."""
    taken = []

    async def adopt(actor, state):
        await actor.adopt.remote(state)
        taken.append(state)

    async def scenario(pool):
        states = []
        for version in range(1, 6):
            running = asyncio.create_task(many(pool, 4, 0.05))
            await asyncio.sleep(0.02)
            pool.offer(version)
            if version == 3:
                path = str(tmp_path / "calls")
                await pool.run(lambda a, _, path=path: a.die.remote(path, 1))
            await pool.wait_adopted(version)
            answers = await many(pool, 4, 0.0)
            states.append({a.value[2] for a in answers})
            await running
        return states

    states, lines = run(scenario, adopt=adopt)
    assert states == [{1}, {2}, {3}, {4}, {5}]
    assert len(lines) == 1
    assert taken.count(3) >= 2


def test_a_job_is_told_what_its_replica_holds():
    async def adopt(actor, state):
        await actor.adopt.remote(state)

    async def scenario(pool):
        before = await pool.run(lambda a, state: a.work.remote(state))
        pool.offer("v1")
        after = await pool.run(lambda a, state: a.work.remote(state))
        return before.value[0], after.value[0]

    assert run(scenario, adopt=adopt)[0] == (None, "v1")


def test_a_cancelled_job_is_not_begun():
    async def scenario(pool):
        busy = asyncio.create_task(many(pool, 2, 1.0))
        await asyncio.sleep(0.2)
        late = asyncio.create_task(many(pool, 20, 1.0))
        await asyncio.sleep(0.1)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        begin = time.monotonic()
        await busy
        await many(pool, 2, 0.0)
        return time.monotonic() - begin

    seconds, _ = run(scenario)
    assert seconds < 5


def test_a_replica_without_room_joins_when_another_leaves(monkeypatch, tmp_path):
    """Two replicas, one seat: the run begins with one, and goes on with the other."""
    monkeypatch.setattr(pool_module, "JOIN_LATER", 1.0)

    async def scenario(pool):
        first = (await pool.run(lambda a, _: a.work.remote(0))).value[1]
        assert pool.ready == 1
        await pool.run(lambda a, _: a.die.remote(str(tmp_path / "calls"), 1))
        second = (await pool.run(lambda a, _: a.work.remote(0))).value[1]
        return {first, second}, pool.ready

    (used, ready), _ = run(scenario, seats=1, generator=0)
    assert (used, ready) == ({0, 1}, 1)


async def _adopt(handle, state):
    await handle.adopt.remote(state)


def test_a_pool_begins_another_run_with_the_same_processes():
    async def scenario(pool):
        pool.offer("weights")
        before = [answer.value for answer in await many(pool, 4, 0.05)]
        pids = await pool.each(lambda a, _: a.pid.remote())
        await pool.reset("next run", RestartBudget(FaultsConfig(deadline=5.0), print), 1.0)
        after = [answer.value for answer in await many(pool, 4, 0.05)]
        assert pids == await pool.each(lambda a, _: a.pid.remote())
        assert (pool.deadline, pool.offered) == (5.0, None)
        pool.offer("newer")
        last = [answer.value for answer in await many(pool, 4, 0.05)]
        return [{state for _, _, state in part} for part in (before, after, last)]

    states, lines = run(scenario, adopt=_adopt)
    assert states == [{"weights"}, {"next run"}, {"newer"}]
    assert lines == []


def test_a_pool_that_lost_a_replica_does_not_begin_another_run():
    async def scenario(pool):
        (pid, _) = await pool.each(lambda a, _: a.pid.remote())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RunFailed):
            await pool.reset("next run", pool.budget, 1.0)

    run(scenario)


def test_a_replica_that_leaves_ends_its_job_and_starts_again_uncharged():
    """The busy one first answers, the idle one starts again at once."""

    async def scenario(pool):
        before = {i: ray.get(handle.pid.remote()) for i, handle in pool.handles.items()}
        job = asyncio.create_task(pool.run(lambda a, _: a.work.remote("x", 1.0)))
        await asyncio.sleep(0.2)
        pool.leave({0, 1})
        answer = await job
        await pool.wait_ready(everyone=True)
        await many(pool, 4, 0.0)
        after = {i: ray.get(handle.pid.remote()) for i, handle in pool.handles.items()}
        return answer.value[0], before, after, pool.budget.restarts

    (item, before, after, restarts), lines = run(scenario, generator=0)
    assert item == "x"
    assert set(before.values()).isdisjoint(after.values())
    assert restarts == 0
    assert lines == []


def test_a_replica_that_leaves_as_it_starts_does_so_at_once(tmp_path):
    """A model may load for longer than its node is there."""
    loading = tmp_path / "loading"

    class Slow:
        def __init__(self):
            if not loading.exists():
                loading.touch()
                time.sleep(600)

        def pid(self):
            return os.getpid()

    async def scenario():
        budget = RestartBudget(FaultsConfig(generator=0), lines.append)
        slow = ray.remote(Slow).options(num_cpus=0, max_restarts=0)
        pool = Pool("generator", "Generator", 1, lambda _: slow.remote(), budget)
        pool.start()
        try:
            async with asyncio.timeout(90):
                while not loading.exists():
                    await asyncio.sleep(0.1)
                pool.leave({0})
                await pool.wait_ready()
                await pool.run(lambda actor, _: actor.pid.remote())
        finally:
            await pool.close()
        return budget.restarts

    lines: list[str] = []
    assert asyncio.run(scenario()) == 0
    assert lines == []


def test_what_dies_with_its_node_before_its_job_is_done_is_charged_to_nobody(tmp_path):
    async def scenario(pool):
        path = str(tmp_path / "calls")

        def submit(actor, _):
            pool.leave({0})
            return actor.die.remote(path, 1)

        return (await pool.run(submit)).value, pool.budget.restarts

    (calls, restarts), lines = run(scenario, size=1, generator=0)
    assert calls == 2
    assert restarts == 0
    assert lines == []
