"""Calls of generators and editors: all items once, and what belongs together in one call."""

from __future__ import annotations

import itertools

import pytest

from actors.fleet import Item
from actors.fleet.batching import AnswersByCase, editor_calls, generator_calls
from medray.records import Case, Response


def items(cases: int, answers: int) -> list[Item]:
    drawn = [Case(f"c{n}", f"c{n}.png", "00", "Is it?", "No", "closed") for n in range(cases)]
    return [Item(f"i{n}-{k}", case) for n, case in enumerate(drawn) for k in range(answers)]


def response(item: Item) -> Response:
    return Response(item.item_id, item.case.case_id, 0, "No", (1,), (), finished=True)


@pytest.mark.parametrize("replicas", [1, 2, 5, 64])
@pytest.mark.parametrize(("cases", "answers"), [(1, 1), (7, 1), (40, 4), (300, 3)])
def test_the_answers_to_a_case_are_asked_in_one_call(cases, answers, replicas):
    given = items(cases, answers)
    calls = generator_calls(given, replicas)
    assert list(itertools.chain(*calls)) == given
    together = [case_id for call in calls for case_id in {item.case.case_id for item in call}]
    assert len(together) == cases
    assert max(map(len, calls)) < 256 + answers


def test_editors_share_answers_but_not_those_to_one_case():
    given = items(8, 2)
    calls = editor_calls(given, 4, by=lambda item: item.case.case_id)
    assert [len(call) for call in calls] == [4, 4, 4, 4]
    assert list(itertools.chain(*calls)) == given
    assert [len(call) for call in editor_calls(items(1, 9), 4, by=lambda i: i.case.case_id)] == [9]


def test_many_editors_do_not_make_many_calls():
    assert [len(call) for call in editor_calls(range(16), 64, least=4)] == [4, 4, 4, 4]
    assert [len(call) for call in editor_calls(range(3), 64, least=4)] == [3]
    assert editor_calls([], 3) == []


def test_answers_are_handed_on_case_by_case():
    given, parts = items(3, 2), []
    answers = AnswersByCase(given, lambda own, responses: parts.append([i.item_id for i in own]))
    for order in ([0, 2, 3], [4], [1]):
        part = [given[n] for n in order]
        answers.receive(part, [response(item) for item in part])
    assert parts == [["i1-0", "i1-1"], ["i0-0", "i0-1"]]
    answers.flush()  # i2-1 never comes: its case took the generator along
    assert parts[2:] == [["i2-0"]]
    answers.flush()
    assert len(parts) == 3
