"""A run in which nothing can be trained on ends with the reasons, counted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from actors.fleet import StepRollout
from actors.fleet.items import EditedBatch, Unusable
from actors.loop.prefetch import MAX_FRUITLESS_BATCHES, RolloutPrefetcher
from medray.config import Config
from medray.errors import RunFailed
from medray.records import Case, Dropped
from medray.targeting import EditContext

CASES = tuple(Case(f"c{i}", f"c{i}.png", "00", "Is it?", "No", "closed") for i in range(4))


class Fruitless:
    """Rollouts of which nothing is left: one image is missing, the others are abstained from."""

    async def extend(self, rollout, items, context):
        first, *others = items
        rollout.unusable.append(Unusable(first.item_id, first.case.case_id, "image-missing"))
        dropped = [
            Dropped(item.item_id, item.case.case_id, 0, "abstained:language") for item in others
        ]
        rollout.edits.append(EditedBatch(dropped, None))


def test_the_reasons_are_counted():
    config = Config.model_validate({"data": {"kind": "phantom"}, "loop": {"batch": 4}})
    plan = SimpleNamespace(config=config, dataset=SimpleNamespace(train=CASES))
    ledger = SimpleNamespace(issue=lambda step, items: None)
    state = SimpleNamespace(step=0, position=0)
    prefetcher = RolloutPrefetcher(plan, Fruitless(), ledger, SimpleNamespace(), state)
    with pytest.raises(RunFailed) as caught:
        asyncio.run(prefetcher._fill(StepRollout(1, 4), CASES, EditContext(version=0)))
    answers = config.generator.responses * len(CASES)
    kept = f"image-missing {MAX_FRUITLESS_BATCHES}"
    lost = f"abstained:language {MAX_FRUITLESS_BATCHES * (answers - 1)}"
    assert f"{MAX_FRUITLESS_BATCHES} batches gave no pair: {lost}, {kept}" in str(caught.value)
