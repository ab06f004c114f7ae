"""A step's pairs shared out among ranks: each once, by images, whatever calls made them."""

from dataclasses import replace

import numpy as np
import pytest

from medray.policy.packing import PackedBatch
from medray.policy.shares import content_of, share_out, split_by_images, weigh
from tests.support.datasets.pairs import phantom_batch


def shares_of(batches: list[PackedBatch], ranks: int, **options):
    """(share, batches that are read) of each rank."""
    parts = [part for batch in batches for part in split_by_images(batch)]
    relevance = {pair.pair_id: pair.relevance for batch in batches for pair in batch.pairs}
    weights = weigh(relevance, weighted=True)
    return share_out([(content_of(part), part) for part in parts], weights, ranks, **options)


def on_few_images(pairs: int, images: int) -> PackedBatch:
    """Pairs that are asked in turn about a few images, whose v' are the pairs' own."""
    given = phantom_batch(pairs=pairs)
    moved = tuple(
        replace(pair, image_keys=(f"x{i % images}",)) for i, pair in enumerate(given.pairs)
    )
    return PackedBatch(moved, given.pixels)


def read_by(batches: list[PackedBatch]) -> set[str]:
    return {pair.pair_id for batch in batches for pair in batch.pairs}


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_every_pair_is_one_ranks_and_its_pictures_are_read_there_only(ranks):
    given = phantom_batch()
    shares = shares_of([given], ranks)
    ids = [pair_id for share, _ in shares for pair_id in share.weights]
    assert sorted(ids) == [pair.pair_id for pair in given.pairs]
    assert {share.pairs for share, _ in shares} == {len(given.pairs)}
    for share, batches in shares:
        assert read_by(batches) == set(share.weights)
        for batch in batches:
            named = {k for p in batch.pairs for k in (*p.image_keys, *p.corrupted_keys)}
            assert batch.pixels.keys() == named


def test_pairs_on_the_same_images_are_one_ranks_with_about_as_many_tokens_each():
    shares = shares_of([on_few_images(40, images=10)], 4)
    images = [{pair.image_keys for b in batches for pair in b.pairs} for _, batches in shares]
    assert len(set().union(*images)) == sum(map(len, images)) == 10
    tokens = [
        sum(length for b in batches for _, length in content_of(b).prompts)
        + sum(length for b in batches for _, length in content_of(b).sides)
        for _, batches in shares
    ]
    assert max(tokens) < 1.5 * min(tokens)


def test_shares_do_not_depend_on_the_calls_that_made_the_pairs():
    given, rng = on_few_images(24, images=7), np.random.default_rng(0)
    expected = [share for share, _ in shares_of([given], 3)]
    for parts in (2, 5, 24):
        order = [given.pairs[i] for i in rng.permutation(len(given.pairs))]
        calls = [PackedBatch(tuple(order[n::parts]), given.pixels) for n in range(parts)]
        assert [share for share, _ in shares_of(calls, 3)] == expected


def test_a_rank_without_pairs_reads_a_batch_of_others():
    shares = shares_of([on_few_images(6, images=2)], 3)
    *_, (share, batches) = sorted(shares, key=lambda rank: -len(rank[0].weights))
    assert share.weights == {}
    assert read_by(batches)


def test_an_objective_that_compares_pairs_reads_all_of_them():
    given = phantom_batch()
    for share, batches in shares_of([given], 2, complete=True):
        assert read_by(batches) == {pair.pair_id for pair in given.pairs}
        assert 0 < len(share.weights) < len(given.pairs)


def test_no_pair_gives_no_batches():
    empty = PackedBatch((), {})
    assert split_by_images(empty, [("x",), ("y",)]) == [empty, empty]
    assert [batches for _, batches in shares_of([empty], 2)] == [[], []]
