"""The order in which a run uses its cases: endless, shuffled per epoch, resumable by position."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import TypeVar

from medray.records import Case
from medray.seeds import stream

T = TypeVar("T")


def take(
    cases: Sequence[Case],
    *,
    position: int,
    count: int,
    seed: int,
    groups: tuple[int, ...] | None = None,
) -> list[Case]:
    """`count` cases starting at `position`; every epoch is a new permutation.

    `groups`: a number per case (`image_groups`); cases of one number stand side by side. A pure
    function of its arguments: to resume, a run only needs its position.
    """
    taken: list[Case] = []
    while len(taken) < count:
        epoch, start = divmod(position + len(taken), len(cases))
        order = _epoch_order(len(cases), epoch, seed, groups)
        taken += [cases[i] for i in order[start : start + count - len(taken)]]
    return taken


class _Numbers(tuple[int, ...]):
    """Numbers of many cases whose hash, which a cache asks for at each step, is computed once."""

    @cached_property
    def _hash(self) -> int:
        return tuple.__hash__(self)

    def __hash__(self) -> int:
        return self._hash


@lru_cache(maxsize=2)  # a step at the end of an epoch reads two; to shuffle takes O(cases)
def _epoch_order(
    size: int, epoch: int, seed: int, groups: tuple[int, ...] | None
) -> tuple[int, ...]:
    order = list(range(size))
    stream(seed, str(epoch)).shuffle(order)
    if groups is not None:
        first: dict[int, int] = {}  # of each group, in the shuffled order
        for place, i in enumerate(order):
            first.setdefault(groups[i], place)
        order.sort(key=lambda i: first[groups[i]])
    return tuple(order)


def images_of(cases: Sequence[Case]) -> list[str]:
    """The images of cases, each once, in the order of their first case."""
    return list(dict.fromkeys(image.path for case in cases for image in case.images))


def image_sets(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """The digests of the images that cases are about, each combination once, in the order of their
    first case."""
    return list(dict.fromkeys(tuple(image.sha256 for image in case.images) for case in cases))


def by_case(cases: Sequence[Case], images: Sequence[T]) -> list[tuple[T, ...]]:
    """The images of each case, from those of one case after the other."""
    remaining = iter(images)
    return [tuple(islice(remaining, len(case.images))) for case in cases]


def image_groups(cases: Sequence[Case]) -> tuple[int, ...]:
    """The number of each case's image: equal for cases about the same one.

    >>> from medray.records import Case
    >>> image_groups([Case(n, n[0], n[0], "?", "", "open") for n in ("a1", "b1", "a2")])
    (0, 1, 0)
    """
    numbers: dict[str, int] = {}
    return _Numbers(numbers.setdefault(c.image_sha256 or c.image, len(numbers)) for c in cases)


def evenly_spaced(cases: Sequence[Case], count: int) -> list[Case]:
    """`count` cases evenly spread over `cases`, or all of them if there are fewer."""
    count = min(count, len(cases))
    return [cases[i * len(cases) // count] for i in range(count)]


def first_studies(cases: Sequence[Case], studies: int) -> list[Case]:
    """All cases of the first `studies` distinct images, in order."""
    images: dict[str, None] = {}
    for case in cases:
        images.setdefault(case.image_sha256 or case.image)
    kept = set(list(images)[:studies])
    return [case for case in cases if (case.image_sha256 or case.image) in kept]
