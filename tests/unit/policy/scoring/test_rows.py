"""Balancing: nothing is lost or duplicated, and little is wasted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.policy.scoring.rows import balance, cheapest_rows, cheapest_trees, pack_rows, row_length

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


def trie_size(sequences: list[list[int]]) -> int:
    return len({tuple(s[: n + 1]) for s in sequences for n in range(len(s))})


def all_partitions(items: list[int]) -> list[list[list[int]]]:
    if not items:
        return [[]]
    first, rest = items[0], items[1:]
    found = []
    for partition in all_partitions(rest):
        found.append([[first], *partition])
        for i, part in enumerate(partition):
            found.append([*partition[:i], [first, *part], *partition[i + 1 :]])
    return found


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5),
    st.floats(1, 100),
)
def test_no_way_to_share_trees_among_neighbours_is_cheaper(sequences, break_even):
    """Against every partition of the sequences into runs of their sorted order."""

    def cost(partition):
        sizes = [trie_size([sequences[i] for i in part]) for part in partition]
        return sum(size * (1 + size / break_even) for size in sizes)

    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    place = {item: number for number, item in enumerate(order)}

    def is_run(part):
        places = sorted(place[i] for i in part)
        return places == list(range(places[0], places[-1] + 1))

    runs = [p for p in all_partitions(order) if all(is_run(part) for part in p)]
    found = cheapest_trees([np.asarray(s) for s in sequences], break_even)
    assert sorted(i for part in found for i in part) == list(range(len(sequences)))
    assert cost(found) == pytest.approx(min(map(cost, runs)))


def test_trees_are_one_where_attention_is_cheap_and_apart_where_it_is_not():
    """Two questions of 10 tokens behind an image of 100, three answers of 5 to each."""
    rng = np.random.default_rng(0)
    image = np.zeros(100, dtype=np.int64)
    questions = [np.concatenate([image, rng.integers(1, 9, 10)]) for _ in range(2)]
    sequences = [np.concatenate([q, rng.integers(1, 9, 5)]) for q in questions for _ in range(3)]
    assert cheapest_trees(sequences, 1e6) == [[0, 1, 2, 3, 4, 5]]
    assert cheapest_trees(sequences, 1.0, 130) == [[0, 1, 2], [3, 4, 5]]
    assert cheapest_trees(sequences, 1e6, 1) == [[i] for i in range(6)]
