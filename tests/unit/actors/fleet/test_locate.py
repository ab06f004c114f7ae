"""For which items the learners find a region, and which item gets which box."""

import asyncio
from types import SimpleNamespace

import pytest

from actors.fleet import Fleet, Item, Placement, RestartBudget, Rollouts
from actors.fleet.pool import CallResult
from medray.config import Config
from medray.records import Case, Region, Response

LIVER, AORTA = Region("liver", box=(0, 0, 1, 1)), Region("aorta", box=(0, 0, 1, 1))


def rollouts_of(world: int, **corruption) -> Rollouts:
    """Of a fleet without actors, whose ranks give each answer (n,) the box (n, 0, n + 1, 1), and
    none to the answer (0,)."""
    corruption = {"region": "lesion-or-saliency"} | corruption
    config = Config.model_validate(
        {"data": {"kind": "phantom"}, "corruption": corruption, "editor": {"replicas": 2}}
    )
    fleet = Fleet(
        config, Placement({}, {}, {}, {}, {}, 0.0, 0.0), RestartBudget(config.faults, print)
    )
    rollouts = Rollouts(fleet)
    rollouts.located = []

    async def encode_questions(items):
        return CallResult(len(items), [None, [item.item_id for item in items]], 0.0, 0.0)

    async def call(method, answers, *questions):
        assert method == "saliency_boxes"
        rollouts.located = [item for part in questions for item in part]
        boxes = [(0, (n, 0, n + 1, 1)) if n else None for (n,) in answers]
        assert len(boxes) == len(rollouts.located)
        return [boxes[rank::world] for rank in range(world)]

    rollouts._encode_questions, fleet.learners = (
        encode_questions,
        SimpleNamespace(world=world, call=call),
    )
    return rollouts


def items_of(*regions: tuple[Region, ...]) -> list[Item]:
    return [
        Item(str(i), Case(f"c{i}", "a.png", "00", "?", "No", "closed", regions=own))
        for i, own in enumerate(regions)
    ]


def responses(*tokens: tuple[int, ...]) -> list[Response]:
    return [
        Response(str(i), f"c{i}", 0, "No", ids, (0.0,) * len(ids), True)
        for i, ids in enumerate(tokens)
    ]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_every_case_without_a_region_gets_its_own_box(world):
    rollouts = rollouts_of(world)
    assert rollouts.needs_saliency
    items = items_of((), (LIVER,), (), (), (), (), ())
    answers = responses((5,), (6,), (7,), (0,), (), (8,), (9,))
    located = asyncio.run(rollouts._locate(items, answers))
    assert rollouts.located == ["0", "2", "3", "5", "6"]  # 1 has a region, the answer to 4 is empty
    assert [item.item_id for item in located] == [item.item_id for item in items]
    boxes = [[(r.source, r.box) for r in item.case.regions] for item in located]
    seen = [[("saliency", (n, 0, n + 1, 1))] for n in (5, 7, 8, 9)]
    assert boxes == [seen[0], [("dataset", (0, 0, 1, 1))], seen[1], [], [], *seen[2:]]


def test_a_region_with_another_label_does_not_count():
    rollouts = rollouts_of(1, labels=("Liver",))
    answers = responses((5,), (6,))
    located = asyncio.run(rollouts._locate(items_of((LIVER,), (AORTA,)), answers))
    assert rollouts.located == ["1"]
    assert [r.source for r in located[1].case.regions] == ["dataset", "saliency"]


def test_learners_are_not_called_for_nothing():
    rollouts = rollouts_of(1)
    items = items_of((LIVER,))
    assert asyncio.run(rollouts._locate(items, responses((5,)))) == items
    assert rollouts.located == []
    assert not rollouts_of(1, region="lesion").needs_saliency
