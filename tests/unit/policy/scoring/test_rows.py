"""Balancing: nothing is lost or duplicated, and little is wasted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.policy.scoring.rows import balance, cheapest_rows, pack_rows, row_length

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=30)


@given(LENGTHS, st.integers(1, 120))
def test_every_item_is_in_one_row_and_rows_respect_their_capacity(lengths, capacity):
    rows = pack_rows(lengths, capacity)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    for row in rows:
        assert sum(lengths[i] for i in row) <= capacity or len(row) == 1


def test_rows_by_hand():
    assert pack_rows([3, 7, 2, 5], 9) == [[1, 2], [3, 0]]
    assert row_length([3, 7, 2, 5], [[1, 2], [3, 0]]) == 16  # 9, rounded up to a multiple of 8
    assert pack_rows([5], 2) == [[0]]


def test_trees_stay_apart_if_attention_is_costly_and_are_packed_if_padding_is():
    equal, unequal = [64] * 8, [400, 60, 60, 60, 60, 60, 50, 50]
    assert len(cheapest_rows(equal, break_even=100)) == 8
    assert len(cheapest_rows(unequal, break_even=1e6)) < 8
    packed = cheapest_rows(unequal, break_even=3000)
    padding = len(packed) * row_length(unequal, packed) - sum(unequal)
    assert padding < 0.2 * sum(unequal) < 8 * 400 - sum(unequal)


@given(LENGTHS, st.integers(1, 200), st.floats(10, 1e5))
def test_a_bound_on_the_row_length_is_respected(lengths, max_length, break_even):
    rows = cheapest_rows(lengths, break_even, max_length)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in r) <= max(max_length, max(lengths)) for r in rows)


@given(LENGTHS, st.integers(1, 8))
def test_groups_are_complete_and_nearly_equal(weights, bins):
    groups = balance(weights, bins)
    assert len(groups) == bins
    assert sorted(i for group in groups for i in group) == list(range(len(weights)))
    loads = [sum(weights[i] for i in group) for group in groups]
    assert max(loads) - min(loads) <= max(weights)


@pytest.mark.parametrize("bins", [1, 2])
def test_balance_beats_round_robin(bins):
    weights = [100, 1, 90, 1, 80, 1, 70, 1]
    loads = [sum(weights[i] for i in group) for group in balance(weights, bins)]
    assert max(loads) - min(loads) <= 22
