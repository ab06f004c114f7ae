"""Rollouts on real Ray actors that compute nothing: parts, deaths, stragglers, cancelling."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from actors.fleet import Item, RestartBudget, Rollouts, StepRollout
from actors.fleet.batching import PendingResponses
from actors.fleet.gpu_turns import GpuTurns
from actors.fleet.pool import CallResult, Pool, union_seconds
from actors.fleet.pool import replicas as pool_module
from medray.config import Config
from medray.records import Case, Response
from medray.targeting import EditContext
from tests.support.processes.sleepers import Corrector, Speaker

CASES = [Case(f"c{i}", f"c{i}.png", "00", "Is there a nodule?", "No", "closed") for i in range(6)]
ITEMS = [Item(f"i{i}", case) for i, case in enumerate(CASES)]


def run(scenario, path: Path, speakers=1, pause=0.0):
    """What `scenario(rollouts)` returns on new actors, and what they logged."""
    log = path / "log"
    log.touch()
    data = {"data": {"kind": "phantom"}, "generator": {"replicas": speakers}}
    config = Config.model_validate(data)
    speaker, corrector = ray.remote(Speaker), ray.remote(Corrector)

    async def main():
        budget = RestartBudget(config.faults, lambda text: None)
        editors = Pool(
            "editor", "Editor", 1, lambda i: corrector.options(num_cpus=0).remote(str(log)), budget
        )
        generators = Pool(
            "generator",
            "Generator",
            speakers,
            lambda i: speaker.options(num_cpus=0).remote(i, str(log), pause),
            budget,
        )
        editors.start()
        generators.start()
        try:
            async with asyncio.timeout(120):
                await asyncio.gather(editors.wait_ready(), generators.wait_ready())
                turns = GpuTurns(generators, None, shared=False)
                fleet = SimpleNamespace(
                    config=config, editors=editors, generators=generators, turns=turns
                )
                return await scenario(Rollouts(fleet))
        finally:
            await asyncio.gather(editors.close(), generators.close())

    return asyncio.run(main()), log.read_text().splitlines()


async def rollout(rollouts: Rollouts) -> StepRollout:
    done = StepRollout(step=1, position=6)
    await rollouts.extend(done, ITEMS, EditContext(version=1))
    return done


def edited(lines: list[str]) -> list[str]:
    return [i for line in lines if line.startswith("edited") for i in line.split()[1:]]


def require_all_once(done, lines: list[str]) -> None:
    ids = [item.item_id for item in ITEMS]
    assert [item.item_id for item in done.items] == ids
    assert [response.item_id for response in done.responses] == ids
    assert sorted(dropped.item_id for dropped in done.dropped) == ids
    assert sorted(edited(lines)) == ids


@pytest.mark.ray
def test_editing_starts_while_generation_is_running(cluster, tmp_path):
    done, lines = run(rollout, tmp_path, pause=1.0)
    require_all_once(done, lines)
    assert lines[0] == "requested i0 i1 i2 i3 i4 i5"
    assert lines.index("edited i0") < lines.index("finished")
    assert done.edit_seconds < done.generate_seconds  # waiting in between does not count


@pytest.mark.ray
def test_after_a_death_only_missing_responses_are_requested(cluster, tmp_path):
    (tmp_path / "die-0-3").touch()
    done, lines = run(rollout, tmp_path, pause=0.2)
    require_all_once(done, lines)
    assert [line for line in lines if line.startswith("requested")] == [
        "requested i0 i1 i2 i3 i4 i5",
        "requested i3 i4 i5",
    ]


@pytest.mark.ray
def test_a_straggler_and_its_repetition_answer_each_item_once(cluster, tmp_path, monkeypatch):
    """Both generate the last ones; the first response counts, the second is not edited again."""
    monkeypatch.setattr(pool_module, "MIN_STRAGGLER", 1.0)
    (tmp_path / "hang-0-1").touch()

    async def scenario(rollouts):
        done = await rollout(rollouts)
        while (tmp_path / "log").read_text().count("finished\n") < 3:  # the straggler continues
            await asyncio.sleep(0.05)
        return done, rollouts.fleet.generators.repeated

    (done, repeated), lines = run(scenario, tmp_path, speakers=2)
    require_all_once(done, lines)
    assert repeated == 1
    first, second, repetition = (line.split()[1:] for line in lines if line.startswith("requested"))
    assert repetition in (first[1:], second[1:])  # only what is missing


@pytest.mark.ray
def test_a_cancelled_rollout_edits_nothing_more(cluster, tmp_path):
    async def scenario(rollouts):
        task = asyncio.create_task(rollout(rollouts))
        while not edited((tmp_path / "log").read_text().splitlines()):
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        before = len(edited((tmp_path / "log").read_text().splitlines()))
        while "finished" not in (tmp_path / "log").read_text():
            await asyncio.sleep(0.05)
        return before

    before, lines = run(scenario, tmp_path, pause=0.3)
    assert len(edited(lines)) <= before + 1  # one may have been on its way
    assert len(edited(lines)) < len(ITEMS)


def responses(*ids: str) -> list[Response]:
    return [Response(i, f"c{i[1:]}", 0, "No", (1,), (0.0,), True) for i in ids]


def test_the_first_response_to_an_item_counts():
    parts: list[list[str]] = []
    pending = PendingResponses(ITEMS, lambda items, new: parts.append([r.item_id for r in new]))
    pending.receive(responses("i4", "i1"))
    first = pending.responses["i1"]
    pending.receive(responses("i1", "i0"))
    pending.receive(responses("i4"))
    assert parts == [["i4", "i1"], ["i0"]]
    assert pending.responses["i1"] is first
    assert [item.item_id for item in pending.missing] == ["i2", "i3", "i5"]
    assert [r.item_id for r in pending.close()] == ["i0", "i1", "i4"]
    pending.receive(responses("i2"))
    assert parts == [["i4", "i1"], ["i0"]]


def test_union_seconds_count_overlaps_once_and_gaps_not_at_all():
    calls = [
        CallResult(None, [], *span) for span in ((5.0, 6.0), (1.0, 2.0), (1.5, 3.0), (1.6, 1.7))
    ]
    assert union_seconds(calls) == pytest.approx(3.0)
    assert union_seconds([]) == 0.0
