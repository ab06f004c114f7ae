"""The order of cases: endless, each once per epoch, resumable from a position."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.data.stream import evenly_spaced, first_studies, image_groups, take
from medray.records import Case


def case(i, image="", digest=None):
    sha = f"sha-{i}" if digest is None else digest
    return Case(f"c{i}", image or f"{i}.png", sha, "q", "a", "open")


def cases(n):
    return [case(i) for i in range(n)]


SIZES = st.integers(1, 12)
POSITIONS = st.integers(0, 60)


@settings(deadline=None)
@given(n=SIZES, epoch=st.integers(0, 5), seed=st.integers(0, 10**6))
def test_every_epoch_is_a_permutation(n, epoch, seed):
    taken = take(cases(n), position=epoch * n, count=n, seed=seed)
    assert sorted(c.case_id for c in taken) == sorted(c.case_id for c in cases(n))


@settings(deadline=None)
@given(n=SIZES, position=POSITIONS, cuts=st.lists(st.integers(0, 9), max_size=5))
def test_batch_sizes_do_not_change_the_order(n, position, cuts):
    expected = take(cases(n), position=position, count=sum(cuts), seed=4)
    parts = []
    for count in cuts:
        parts += take(cases(n), position=position + len(parts), count=count, seed=4)
    assert parts == expected


@settings(deadline=None)
@given(n=SIZES, count=st.integers(0, 50))
def test_no_case_is_used_twice_more_than_another(n, count):
    counts = Counter(c.case_id for c in take(cases(n), position=0, count=count, seed=1))
    tally = [counts[c.case_id] for c in cases(n)]
    assert sum(tally) == count
    assert max(tally) - min(tally) <= 1


def test_every_epoch_and_seed_has_a_different_order():
    orders = {
        tuple(c.case_id for c in take(cases(8), position=8 * epoch, count=8, seed=seed))
        for epoch in range(5)
        for seed in range(5)
    }
    assert len(orders) == 25


def test_the_order_does_not_depend_on_the_machine():
    """Golden order: a resumed run may continue on another one."""
    ids = [c.case_id for c in take(cases(5), position=3, count=5, seed=0)]
    assert ids == ["c3", "c2", "c0", "c1", "c2"]


@pytest.mark.parametrize(
    ("n", "count", "expected"),
    [
        (10, 5, [0, 2, 4, 6, 8]),
        (10, 3, [0, 3, 6]),
        (3, 5, [0, 1, 2]),
        (4, 4, [0, 1, 2, 3]),
        (4, 1, [0]),
        (4, 0, []),
        (0, 3, []),
    ],
)
def test_evenly_spaced_by_hand(n, count, expected):
    assert evenly_spaced(cases(n), count) == [cases(n)[i] for i in expected]


def test_first_studies_takes_all_cases_of_the_first_images():
    a1, a2 = case(0, "a.png", "A"), case(1, "copy-of-a.png", "A")
    b, unread1, unread2 = case(2, "b.png", "B"), case(3, "x.png", ""), case(4, "y.png", "")
    everything = [a1, b, a2, unread1, unread2]
    assert first_studies(everything, 0) == []
    assert first_studies(everything, 1) == [a1, a2]
    assert first_studies(everything, 2) == [a1, b, a2]
    assert first_studies(everything, 3) == [a1, b, a2, unread1]  # unreadable images count by path
    assert first_studies(everything, 9) == everything


@settings(deadline=None)
@given(images=st.lists(st.integers(0, 4), min_size=1, max_size=15), epoch=st.integers(0, 3))
def test_questions_on_one_image_stand_side_by_side(images, epoch):
    """Each epoch is still a permutation, in another order of images and of their questions."""
    about = [case(i, image=f"{image}.png", digest=f"sha-{image}") for i, image in enumerate(images)]
    groups, n = image_groups(about), len(images)
    taken = take(about, position=epoch * n, count=n, seed=3, groups=groups)
    assert sorted(c.case_id for c in taken) == sorted(c.case_id for c in about)
    order = [c.image for c in taken]
    assert sum(one != other for one, other in itertools.pairwise(order)) == len(set(images)) - 1


def test_images_are_shuffled_too():
    about = [case(i, image=f"{i // 3}.png", digest=f"{i // 3}") for i in range(30)]
    groups = image_groups(about)
    orders = {
        tuple(c.case_id for c in take(about, position=30 * e, count=30, seed=0, groups=groups))
        for e in range(4)
    }
    assert len(orders) == 4
    assert len({order[0] for order in orders}) > 1
