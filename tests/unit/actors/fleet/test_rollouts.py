"""Rollouts on real Ray actors that only pretend: parts, deaths, stragglers, and giving up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import ray

from actors.fleet import pool as pool_module
from actors.fleet.pool import Answer, Pool
from actors.fleet.restarts import Faults
from actors.fleet.rollouts import Rollouts, busy
from actors.fleet.work import Waiting, Work
from medray.config import Config
from medray.records import Case, Response
from medray.targeting import ErrorTargets
from tests.support.processes.sleepers import Corrector, Speaker

CASES = [Case(f"c{i}", f"c{i}.png", "00", "Is there a nodule?", "No", "closed") for i in range(6)]
ITEMS = [(f"i{i}", case) for i, case in enumerate(CASES)]


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


async def nobody_looks(answers, views):
    raise AssertionError("nothing was to be looked at")


def run(scenario, path: Path, speakers=1, pause=0.0):
    """What `scenario(rollouts)` gives on new actors, and what they wrote down."""
    log = path / "log"
    log.touch()
    data = {"data": {"kind": "phantom"}, "generator": {"replicas": speakers}}
    config = Config.model_validate(data)
    speaker, corrector = ray.remote(Speaker), ray.remote(Corrector)

    async def main():
        faults = Faults(config.faults, lambda text: None)
        editors = Pool(
            "editor", "Editor", 1, lambda i: corrector.options(num_cpus=0).remote(str(log)), faults
        )
        generators = Pool(
            "generator",
            "Generator",
            speakers,
            lambda i: speaker.options(num_cpus=0).remote(i, str(log), pause),
            faults,
        )
        editors.start()
        generators.start()
        try:
            async with asyncio.timeout(120):
                await asyncio.gather(editors.wait_ready(), generators.wait_ready())
                return await scenario(Rollouts(config, editors, generators, nobody_looks))
        finally:
            await asyncio.gather(editors.close(), generators.close())

    return asyncio.run(main()), log.read_text().splitlines()


async def rollout(rollouts: Rollouts):
    return await rollouts.make(ITEMS, 1, ErrorTargets())


def edited(lines: list[str]) -> list[str]:
    return [i for line in lines if line.startswith("edited") for i in line.split()[1:]]


def require_all_once(done, lines: list[str]) -> None:
    ids = [item_id for item_id, _ in ITEMS]
    assert [response.item_id for response in done.responses] == ids
    assert sorted(outcome.pair_id for outcome in done.outcomes) == ids
    assert sorted(edited(lines)) == ids


@pytest.mark.ray
def test_what_is_said_is_edited_while_the_rest_is_being_said(cluster, tmp_path):
    done, lines = run(rollout, tmp_path, pause=0.3)
    require_all_once(done, lines)
    assert lines[0] == "asked i0 i1 i2 i3 i4 i5"
    assert lines.index("edited i0") < lines.index("said")
    assert done.edit < done.generate  # the waiting in between is nobody's work


@pytest.mark.ray
def test_after_a_death_only_what_is_missing_is_asked_again(cluster, tmp_path):
    (tmp_path / "die-0-3").touch()
    done, lines = run(rollout, tmp_path, pause=0.2)
    require_all_once(done, lines)
    assert [line for line in lines if line.startswith("asked")] == [
        "asked i0 i1 i2 i3 i4 i5",
        "asked i3 i4 i5",
    ]


@pytest.mark.ray
def test_a_straggler_and_its_twin_answer_each_item_once(cluster, tmp_path, monkeypatch):
    """Both say the last ones; the first word counts, and the second is not edited again."""
    monkeypatch.setattr(pool_module, "STRAGGLER_LEAST", 1.0)
    (tmp_path / "hang-0-1").touch()

    async def scenario(rollouts):
        done = await rollout(rollouts)
        while (tmp_path / "log").read_text().count("said\n") < 3:  # the straggler goes on
            await asyncio.sleep(0.05)
        return done, rollouts.generators.repeated

    (done, repeated), lines = run(scenario, tmp_path, speakers=2)
    require_all_once(done, lines)
    assert repeated == 1
    asked = [line.split()[1:] for line in lines if line.startswith("asked")]
    assert len(asked) == 3
    assert asked[2] in (asked[0][1:], asked[1][1:])  # the twin is asked for what is missing


@pytest.mark.ray
def test_a_rollout_that_was_given_up_edits_nothing_more(cluster, tmp_path):
    async def scenario(rollouts):
        making = asyncio.create_task(rollout(rollouts))
        while not edited((tmp_path / "log").read_text().splitlines()):
            await asyncio.sleep(0.05)
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        before = len(edited((tmp_path / "log").read_text().splitlines()))
        while "said" not in (tmp_path / "log").read_text():
            await asyncio.sleep(0.05)
        return before

    before, lines = run(scenario, tmp_path, pause=0.3)
    assert len(edited(lines)) <= before + 1  # one may have been on its way
    assert len(edited(lines)) < len(ITEMS)


def said(*ids: str) -> list[Response]:
    return [Response(i, f"c{i[1:]}", 0, "No", (1,), (0.0,), True) for i in ids]


def test_the_first_answer_to_an_item_counts():
    came: list[list[str]] = []
    work = [Work(item_id, case, None) for item_id, case in ITEMS]
    waiting = Waiting(work, lambda items, new: came.append([r.item_id for r in new]))
    waiting.take(said("i4", "i1"))
    first = waiting.said["i1"]
    waiting.take(said("i1", "i0"))
    waiting.take(said("i4"))
    assert came == [["i4", "i1"], ["i0"]]
    assert waiting.said["i1"] is first
    assert [item.item_id for item in waiting.left] == ["i2", "i3", "i5"]
    assert [r.item_id for r in waiting.close()] == ["i0", "i1", "i4"]
    waiting.take(said("i2"))
    assert came == [["i4", "i1"], ["i0"]]


def test_seconds_at_work_count_overlaps_once_and_gaps_not_at_all():
    calls = [Answer(None, [], *span) for span in ((5.0, 6.0), (1.0, 2.0), (1.5, 3.0), (1.6, 1.7))]
    assert busy(calls) == pytest.approx(3.0)
    assert busy([]) == 0.0
