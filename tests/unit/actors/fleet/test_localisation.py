"""Between answer and edit: which regions the cases get, and when localisers are needed at all."""

import asyncio
from types import SimpleNamespace

import pytest

from actors.fleet import Item
from actors.fleet.localisation import find_regions, needs_localiser
from actors.fleet.placement import plan_placement
from actors.fleet.pool import CallResult
from medray.config import Config
from medray.records import Case, Region, Response

GIVEN = Region("liver", box=(0, 0, 1, 1))


def config(objective: str = "fire", **corruption) -> Config:
    return Config.model_validate(
        {
            "data": {"kind": "phantom"},
            "corruption": {"region": "found"} | corruption,
            "localiser": {"kind": "clipseg", "path": "x", "replicas": 2, "gpus": 0.25},
            "objective": {"name": objective},
        }
    )


class Localisers:
    """A pool of two that finds, for answer n, a box at n."""

    size = 2

    def __init__(self):
        self.calls: list[int] = []

    async def run(self, submit, **trial) -> CallResult:
        def locate(cases, answers, *images):
            self.calls.append(len(cases))
            assert list(images) == [case.image for case in cases]
            return [
                (Region("nodule", box=(int(n), 0, int(n) + 1, 1), source="clipseg", score=0.9),)
                if n
                else ()
                for n in answers
            ]

        localiser = SimpleNamespace(locate=SimpleNamespace(remote=locate))
        return CallResult(submit(localiser, None), [], 0.0, 0.0)


def test_every_case_gets_what_was_found_for_its_own_answer():
    answers = ["5", "", "7", "8", "9"]
    items = [
        Item(
            str(i),
            Case(f"c{i}", f"{i}.png", "00", "?", "No", "closed", regions=(GIVEN,)),
            (f"{i}.png",),
        )
        for i in range(5)
    ]
    responses = [Response(str(i), f"c{i}", 0, a, (1,), (0.0,), True) for i, a in enumerate(answers)]
    pool = Localisers()
    found = asyncio.run(find_regions(pool, list(zip(items, responses, strict=True))))
    located = [item for part, _ in found.results for item, _ in part]
    assert pool.calls == [3, 2]
    assert [item.item_id for item in located] == [item.item_id for item in items]
    assert all(item.case.regions[0] == GIVEN for item in located)
    found = [[region.box[0] for region in item.case.regions[1:]] for item in located]
    assert found == [[5], [], [7], [8], [9]]
    assert items[0].case.regions == (GIVEN,)


@pytest.mark.parametrize(
    ("objective", "corruption", "needed"),
    [
        ("fire", {}, True),
        ("fire", {"region": "found-or-whole"}, True),
        ("fire", {"region": "lesion"}, False),
        ("dpo", {}, False),
    ],
)
def test_localisers_work_only_for_v_made_from_what_they_find(
    monkeypatch, objective, corruption, needed
):
    monkeypatch.setattr("actors.fleet.placement.is_cpu_build", lambda: False)
    settings = config(objective, **corruption)
    assert needs_localiser(settings) is needed
    placed = plan_placement(settings, {"CPU": 16.0, "GPU": 8.0})
    assert placed.gpus == 2 + (0.5 if needed else 0)
    assert placed.cpus == 3 + (2 if needed else 0)
    assert (placed.localiser["num_gpus"], placed.localiser["num_cpus"]) == (0.25, 1)
    on_cpus = plan_placement(settings, {"CPU": 2.0})
    assert (on_cpus.cpus, on_cpus.localiser["num_cpus"]) == (1, 0)
