"""Balancing work: branches into trees, trees into rows, pairs into micro-batches and ranks."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

ROW_MULTIPLE = 8  # attention kernels prefer row lengths that are multiples of it


def pack_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of items by row (first-fit decreasing); a row holds `capacity` or one longer item."""
    rows: list[list[int]] = []
    free: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        for row, space in enumerate(free):
            if lengths[item] <= space:
                rows[row].append(item)
                free[row] -= lengths[item]
                break
        else:
            rows.append([item])
            free.append(capacity - lengths[item])
    return rows


def row_length(lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> int:
    """Tokens of the longest row, rounded up."""
    longest = max(sum(lengths[item] for item in row) for row in rows)
    return -(-longest // ROW_MULTIPLE) * ROW_MULTIPLE


def cheapest_rows(
    lengths: Sequence[int], break_even: float, max_length: int | None = None
) -> list[list[int]]:
    """The packing with the least work: long rows waste attention, short ones padding.

    A token in a row of length L costs 1 + L / break_even; `break_even` is the row length at
    which attention costs as much as everything else. `max_length` bounds the rows, but
    never below the longest item.
    """
    longest, total = max(lengths), sum(lengths)
    bound = max(longest, min(total, max_length or total))
    capacities = {longest, bound}
    capacity = float(longest)
    while (capacity := capacity * 1.25) < bound:
        capacities.add(int(capacity))

    def cost(rows: list[list[int]]) -> float:
        length = row_length(lengths, rows)
        return len(rows) * length * (1 + length / break_even)

    return min((pack_rows(lengths, c) for c in sorted(capacities)), key=cost)


def cheapest_trees(
    sequences: Sequence[np.ndarray], break_even: float, max_length: int | None = None
) -> list[list[int]]:
    """Indices of token sequences [n_i] by tree: neighbours in the order of their tokens, such that
    the work is least.

    A tree holds what its sequences begin with once, and costs as a row of its length does (see
    `cheapest_rows`): a long one pays more for attention than it saves. `max_length` bounds trees of
    more than one sequence.
    """
    order = sorted(range(len(sequences)), key=lambda i: sequences[i].tolist())
    lengths = np.asarray([len(sequences[i]) for i in order])
    shared = [common_length(sequences[a], sequences[b]) for a, b in pairwise(order)]
    added = np.cumsum(lengths - np.asarray([0, *shared]))  # tokens of a tree of all up to here
    best, begins = [0.0], [0]
    for end in range(len(order)):  # the last of a tree whose first is one of `firsts`
        firsts = np.arange(end + 1)
        tokens = lengths[firsts] + added[end] - added[firsts]
        costs = np.asarray(best) + tokens * (1 + tokens / break_even)
        if max_length is not None:
            costs[:-1] = np.where(tokens[:-1] > max_length, np.inf, costs[:-1])
        begins.append(int(costs.argmin()))
        best.append(float(costs.min()))
    trees, end = [], len(order)
    while end:
        first = begins[end]
        trees.append(sorted(order[first:end]))
        end = first
    return sorted(trees)


def common_length(one: np.ndarray, other: np.ndarray) -> int:
    """Length of the longest common prefix."""
    length = min(len(one), len(other))
    different = np.nonzero(one[:length] != other[:length])[0]
    return int(different[0]) if len(different) else length


def balance(weights: Sequence[int], bins: int) -> list[list[int]]:
    """Indices in `bins` groups of nearly equal weight (longest-processing-time-first scheduling).

    The heaviest item goes first, each to the lightest group. Some are empty if there are fewer
    items than bins.
    """
    groups: list[list[int]] = [[] for _ in range(bins)]
    heap = [(0, number) for number in range(bins)]
    for item in sorted(range(len(weights)), key=lambda i: -weights[i]):
        load, number = heapq.heappop(heap)
        groups[number].append(item)
        heapq.heappush(heap, (load + weights[item], number))
    return [sorted(group) for group in groups]
