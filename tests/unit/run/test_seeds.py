"""Streams depend on all of their arguments, and are the same in every process."""

from __future__ import annotations

from itertools import product

from medray.seeds import (
    array_stream,
    item_seed,
    rank_seed,
    refill_seed,
    sort_key,
    stream,
    text_stream,
)


def test_an_item_seed_depends_on_both_and_is_stable():
    assert item_seed(0, "a") == item_seed(0, "a")
    names = ("a", "b", "1:a")
    assert len({item_seed(seed, name) for name, seed in product(names, (0, 1, 11))}) == 9
    assert 0 <= item_seed(-1, "a") < 2**63
    # the start of `printf 0:a | sha256sum`: a run can be repeated on another machine
    assert item_seed(0, "a") == 0x9DF3C5FAB8EF8FE7 // 2


def test_a_sort_key_is_the_digest_of_seed_and_text():
    assert sort_key(0, "a").startswith("9df3c5fab8ef8fe7")


def test_streams_of_different_purposes_differ():
    first = {
        *(stream(seed, name).random() for seed, name in product((0, 1), ("0", "1", "0/0"))),
        *(text_stream(seed, *texts).random() for seed in (0, 1) for texts in ("ab", ("ab",))),
        *(float(array_stream(name).random()) for name in ("a", "b")),
    }
    assert len(first) == 6 + 4 + 2


def test_refilled_steps_have_distinct_orders():
    assert refill_seed(0, 1) != refill_seed(0, 2)
    assert not {refill_seed(0, step) for step in range(1, 1000)} & set(range(1000))


def test_a_rank_seed_depends_on_version_and_rank():
    seeds = {rank_seed(*parts) for parts in product((0, 1), (0, 1), (0, 1))}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
