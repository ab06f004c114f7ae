"""Sharing out work of unequal size: trees into rows, pairs into micro-batches and ranks."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

ROUND = 8  # attention kernels want row lengths that are multiples of it


def pack_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of items by row: first-fit decreasing, rows of `capacity` (or one longer item)."""
    rows: list[list[int]] = []
    room: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        for row, left in enumerate(room):
            if lengths[item] <= left:
                rows[row].append(item)
                room[row] -= lengths[item]
                break
        else:
            rows.append([item])
            room.append(capacity - lengths[item])
    return rows


def row_length(lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> int:
    """Tokens of the longest row, rounded up."""
    longest = max(sum(lengths[item] for item in row) for row in rows)
    return -(-longest // ROUND) * ROUND


def cheapest_rows(
    lengths: Sequence[int], break_even: float, most: int | None = None
) -> list[list[int]]:
    """The packing with the least work: long rows waste attention, short ones padding.

    A token of a row of length L costs 1 + L / break_even, where `break_even` is the row length
    at which attention costs as much as everything else. `most` bounds the row.
    """
    longest, total = max(lengths), sum(lengths)
    bound = max(longest, min(total, most or total))
    capacities = {longest, bound}
    capacity = float(longest)
    while (capacity := capacity * 1.25) < bound:
        capacities.add(int(capacity))

    def cost(rows: list[list[int]]) -> float:
        length = row_length(lengths, rows)
        return len(rows) * length * (1 + length / break_even)

    return min((pack_rows(lengths, c) for c in sorted(capacities)), key=cost)


def balance(weights: Sequence[int], bins: int) -> list[list[int]]:
    """Indices in `bins` groups of nearly equal weight: the heaviest first, each to the lightest.

    Groups may be empty where there are fewer items than bins.
    """
    groups: list[list[int]] = [[] for _ in range(bins)]
    heap = [(0, number) for number in range(bins)]
    for item in sorted(range(len(weights)), key=lambda i: -weights[i]):
        load, number = heapq.heappop(heap)
        groups[number].append(item)
        heapq.heappush(heap, (load + weights[item], number))
    return [sorted(group) for group in groups]
