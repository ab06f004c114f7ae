"""Answers for steps to come, and the blocks of steps that they are sampled for."""

import asyncio

import pytest

from actors.fleet import Item
from actors.loop.blocks import Blocks
from medray.config import LoopConfig
from medray.errors import UserError
from medray.kept_answers import KeptAnswers
from medray.records import Case, Response

CASES = [Case(f"c{i}", f"{i}.png", f"{i}", "Is there a nodule?", "Yes", "closed") for i in range(5)]


def response(item: str, case: str) -> Response:
    return Response(item, case, 3, "Yes,\n«é»", (5, 2**31, 7), (-0.1, -2.5, 0.0), True, given=1)


def test_answers_come_back_as_they_were(tmp_path):
    kept = KeptAnswers(tmp_path / "answers")
    names = [("a", "c0"), ("b", "c1"), ("c", "c0")]
    given = [response("c", "c0"), response("a", "c0")]
    kept.write(12, names, given, position=99)
    step = kept.read(12)
    assert step.items == tuple(names)
    assert step.responses == {"a": given[1], "c": given[0]}  # b has none
    assert step.position == 99
    assert [kept.has(s) for s in (11, 12)] == [False, True]


def test_a_step_without_a_usable_case_is_kept_too(tmp_path):
    kept = KeptAnswers(tmp_path)
    kept.write(1, [("a", "c0")], [], position=4)
    assert kept.read(1).responses == {}


def test_later_answers_are_forgotten(tmp_path):
    kept = KeptAnswers(tmp_path)
    for step in (1, 2, 3, 10):
        kept.write(step, [("a", "c")], [], 0)
    kept.forget(after=2)
    assert [step for step in range(12) if kept.has(step)] == [1, 2]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "step-000001.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match=r"is not a file of answers.*delete it"):
        KeptAnswers(tmp_path).read(1)


@pytest.mark.parametrize(
    ("every", "last"),
    [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 3, 3, 6, 6, 6, 7]), (0, [7] * 7), (20, [7] * 7)],
)
def test_the_last_step_of_each_block(every, last):
    blocks = Blocks(LoopConfig(steps=7, resample_every=every), None, None)
    assert [blocks.last_step(step) for step in range(1, 8)] == last
    ends = [step for step in range(1, 8) if blocks.begins_after(step)]
    assert ends == sorted({end for end in last if end < 7})


class Answering:
    """Rollouts whose generators answer anything; c3 cannot be used."""

    def __init__(self) -> None:
        self.answered: list[str] = []

    async def load(self, items):
        return [item for item in items if item.case.case_id != "c3"], []

    async def generate(self, items, *, greedy):
        assert not greedy
        self.answered += [item.item_id for item in items]
        return [response(item.item_id, item.case.case_id) for item in items]


def test_a_block_is_sampled_once_and_goes_on_where_it_was_cut_short(tmp_path):
    rollouts, kept = Answering(), KeptAnswers(tmp_path)
    blocks = Blocks(LoopConfig(steps=7, resample_every=3), rollouts, kept)

    def draw(step: int, position: int):
        return [CASES[(position + i) % 5] for i in range(2)], position + 2

    def name(step: int, cases):
        return [Item(f"{step}-{i}", case) for i, case in enumerate(cases)]

    asyncio.run(blocks.sample(4, 6, draw, name))
    assert rollouts.answered == ["4-0", "4-1", "5-1", "6-0", "6-1"]
    assert kept.read(5).items == (("5-0", "c3"), ("5-1", "c4"))
    assert [kept.read(step).position for step in (4, 5, 6)] == [8, 10, 12]
    (tmp_path / "step-000006.parquet").unlink()
    rollouts.answered.clear()
    asyncio.run(blocks.sample(5, 8, draw, name))
    assert rollouts.answered == ["6-0", "6-1"]
    assert kept.read(6).position == 12
