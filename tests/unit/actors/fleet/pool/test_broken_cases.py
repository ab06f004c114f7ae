"""Cases that kill, hang or starve the actor that works on them, on real Ray actors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import ray

from actors.fleet import BrokenCases, Item, RestartBudget, Rollouts, StepRollout
from actors.fleet.calls import JobLost
from actors.fleet.cases import REASON, bisect
from actors.fleet.gpu_turns import GpuTurns
from actors.fleet.pool import Pool
from medray.config import Config
from medray.errors import RunFailed
from medray.records import Case
from medray.targeting import EditContext
from tests.support.processes.sleepers import Corrector, Speaker, Worker

PATIENCE = 15.0  # seconds for a suspected call: a healthy one never takes them on a busy machine


def items_of(case_ids: Sequence[str]) -> list[Item]:
    return [
        Item(f"i{n}", Case(case_id, "a.png", "00", "?", "No", "closed"))
        for n, case_id in enumerate(case_ids)
    ]


def run(scenario, tmp_path, **faults):
    """`scenario(rollouts)` with one speaker and one corrector; its result, lines, restarts."""
    log, lines = tmp_path / "log", list[str]()
    log.touch()
    config = Config.model_validate({"data": {"kind": "phantom"}, "faults": faults})
    speaker, corrector = ray.remote(Speaker), ray.remote(Corrector)

    async def main():
        budget = RestartBudget(config.faults, lines.append)
        new_editor = lambda i: corrector.options(num_cpus=0).remote(str(log))  # noqa: E731
        editors = Pool("editor", "Editor", 1, new_editor, budget, patience=PATIENCE)
        new_speaker = lambda i: speaker.options(num_cpus=0).remote(i, str(log))  # noqa: E731
        generators = Pool("generator", "Generator", 1, new_speaker, budget, patience=PATIENCE)
        editors.start()
        generators.start()
        try:
            async with asyncio.timeout(280):
                await asyncio.gather(editors.wait_ready(), generators.wait_ready())
                fleet = SimpleNamespace(
                    config=config,
                    editors=editors,
                    generators=generators,
                    budget=budget,
                    turns=GpuTurns(generators, None, shared=False),
                )
                result = await scenario(Rollouts(fleet, BrokenCases(tmp_path / "broken.json")))
                return result, budget.restarts
        finally:
            await asyncio.gather(editors.close(), generators.close())

    (result, restarts) = asyncio.run(main())
    return result, lines, restarts


async def rollout(rollouts: Rollouts, items: Sequence[Item]) -> StepRollout:
    done = StepRollout(step=1, position=len(items))
    await rollouts.extend(done, items, EditContext(version=1))
    return done


def ends(done: StepRollout) -> dict[str, str]:
    """The one end of each case."""
    found = [(u.case_id, u.reason) for u in done.unusable]
    found += [(d.case_id, d.reason) for d in done.dropped]
    assert len(dict(found)) == len(found), "a case ended twice"
    return dict(found)


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_cases_that_kill_are_dropped_and_remembered_and_cost_no_restart(cluster, tmp_path):
    """One in each call, and a budget of two restarts; afterwards they are not tried again."""
    bad = ["load-kills-1", "generate-kills-1", "edit-kills-1"]
    items = items_of(["good-0", bad[0], "good-1", bad[1], "good-2", bad[2], "good-3"])

    async def scenario(rollouts):
        await rollout(rollouts, items_of(["good-before"]))
        first = await rollout(rollouts, items)
        again = await rollout(
            Rollouts(rollouts.fleet, BrokenCases(tmp_path / "broken.json")), items
        )
        return first, again

    (first, again), lines, restarts = run(scenario, tmp_path, editor=2, generator=2)
    expected = {f"good-{n}": "for-the-test" for n in range(4)} | dict.fromkeys(bad, REASON)
    assert ends(first) == ends(again) == expected
    assert sorted(json.loads((tmp_path / "broken.json").read_text())) == sorted(bad)
    assert restarts == 0
    named = [line for line in lines if f"dropped as {REASON}" in line]
    assert sorted(line.partition(":")[0] for line in named) == sorted(f"case {b}" for b in bad)


@pytest.mark.ray
@pytest.mark.timeout(400)
@pytest.mark.parametrize("bad", ["load-hangs", "edit-starves", "generate-breaks"])
def test_a_case_that_hangs_starves_or_breaks_is_dropped(cluster, tmp_path, bad):
    items = items_of(["good-0", bad, "good-1"])
    faults = {"editor": 4, "generator": 4, "deadline": PATIENCE}
    done, _, restarts = run(lambda rollouts: rollout(rollouts, items), tmp_path, **faults)
    assert ends(done) == {"good-0": "for-the-test", bad: REASON, "good-1": "for-the-test"}
    assert restarts <= 4  # taken back once other work has succeeded


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_actors_that_finish_nothing_at_all_end_the_run(cluster, tmp_path):
    """Not every case can be bad: the trouble is elsewhere, and restarts do not go on for ever."""
    items = items_of([f"load-breaks-{n}" for n in range(12)])
    with pytest.raises(RunFailed, match=r"no Editor is left: .*a bug"):
        run(lambda rollouts: rollout(rollouts, items), tmp_path, editor=2)


def test_halving_finds_every_bad_row_and_keeps_the_order():
    tried: list[tuple[int, bool]] = []

    async def call(rows, trial):
        tried.append((len(rows), trial.get("suspect", False)))
        if {3, 4, 11} & set(rows):
            raise JobLost("Editor(replica=0)", "died", "killed")
        return sum(rows)

    found = asyncio.run(bisect(list(range(16)), call))
    assert [row for row, _ in found.broken] == [3, 4, 11]
    assert [row for rows, _ in found.results for row in rows] == [
        *(0, 1, 2, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15)
    ]
    assert all(total == sum(rows) for rows, total in found.results)
    assert tried[0] == (16, False)
    assert all(suspect for _, suspect in tried[1:])


def test_a_pool_goes_on_without_the_job_that_kills(cluster):
    """The smallest reproduction: twelve good jobs, and one that kills each replica it gets."""
    lines: list[str] = []
    worker = ray.remote(Worker)

    async def main():
        config = Config.model_validate({"data": {"kind": "phantom"}}).faults
        pool = Pool(
            "editor",
            "Editor",
            1,
            lambda i: worker.options(num_cpus=0).remote(i),
            RestartBudget(config, lines.append),
        )
        pool.start()
        try:
            async with asyncio.timeout(120):
                await pool.wait_ready()
                good = [pool.run(lambda a, _, i=i: a.work.remote(i)) for i in range(12)]
                bad = pool.run(lambda a, _: a.die.remote("/dev/null", -1))
                return await asyncio.gather(*good[:6], bad, *good[6:], return_exceptions=True)
        finally:
            await pool.close()

    answers = asyncio.run(main())
    assert isinstance(answers.pop(6), JobLost)
    assert [answer.value[0] for answer in answers] == list(range(12))
