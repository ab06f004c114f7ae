"""Which items the fleet asks the learners about, and whose box comes back to whom."""

import asyncio
from types import SimpleNamespace

import pytest

from actors.fleet.fleet import Fleet
from actors.fleet.placement import Placement
from actors.fleet.pool import Answer
from actors.fleet.restarts import Faults
from actors.fleet.work import Work
from medray.config import Config
from medray.records import Case, Region, Response

LIVER, AORTA = Region("liver", box=(0, 0, 1, 1)), Region("aorta", box=(0, 0, 1, 1))


def fleet_of(world: int, **corruption) -> Fleet:
    """A fleet without actors, whose ranks give each answer (n,) the box (n, 0, n + 1, 1), and
    none to the answer (0,)."""
    corruption = {"region": "lesion-or-saliency"} | corruption
    config = Config.model_validate(
        {"data": {"kind": "phantom"}, "corruption": corruption, "editor": {"replicas": 2}}
    )
    fleet = Fleet(config, Placement({}, {}, {}, {}, 0.0, 0.0), Faults(config.faults, print))
    fleet.asked = []

    async def view(work):
        return Answer(len(work), [None, [item.item_id for item in work]], 0.0, 0.0)

    async def call(method, answers, *views):
        assert method == "look"
        fleet.asked = [item for part in views for item in part]
        boxes = [(n, 0, n + 1, 1) if n else None for (n,) in answers]
        assert len(boxes) == len(fleet.asked)
        return [boxes[rank::world] for rank in range(world)]

    fleet.rollouts._view, fleet.ranks = view, SimpleNamespace(world=world, call=call)
    return fleet


def work_of(*regions: tuple[Region, ...]) -> list[Work]:
    return [
        Work(str(i), Case(f"c{i}", "a.png", "00", "?", "No", "closed", regions=own), None)
        for i, own in enumerate(regions)
    ]


def said(*tokens: tuple[int, ...]) -> list[Response]:
    return [
        Response(str(i), f"c{i}", 0, "No", ids, (0.0,) * len(ids), True)
        for i, ids in enumerate(tokens)
    ]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_every_case_without_a_region_gets_its_own_box(world):
    fleet = fleet_of(world)
    assert fleet.rollouts.looks
    work = work_of((), (LIVER,), (), (), (), (), ())
    located = asyncio.run(
        fleet.rollouts._locate(work, said((5,), (6,), (7,), (0,), (), (8,), (9,)))
    )
    assert fleet.asked == ["0", "2", "3", "5", "6"]  # not 1 with its region, nor 4, which is mute
    assert [item.item_id for item in located] == [item.item_id for item in work]
    boxes = [[(r.source, r.box) for r in item.case.regions] for item in located]
    seen = [[("saliency", (n, 0, n + 1, 1))] for n in (5, 7, 8, 9)]
    assert boxes == [seen[0], [("dataset", (0, 0, 1, 1))], seen[1], [], [], *seen[2:]]


def test_a_region_under_another_label_is_none():
    fleet = fleet_of(1, labels=("Liver",))
    located = asyncio.run(fleet.rollouts._locate(work_of((LIVER,), (AORTA,)), said((5,), (6,))))
    assert fleet.asked == ["1"]
    assert [r.source for r in located[1].case.regions] == ["dataset", "saliency"]


def test_nobody_is_asked_in_vain():
    fleet = fleet_of(1)
    work = work_of((LIVER,))
    assert asyncio.run(fleet.rollouts._locate(work, said((5,)))) == work
    assert fleet.asked == []
    assert not fleet_of(1, region="lesion").rollouts.looks
