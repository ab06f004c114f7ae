"""A step's pairs as shares of the learner's ranks, each with only the pictures that it needs.

A batch holds the pairs on the same images, which can share a tree. Its `BatchContent` says what it
holds, so that whoever shares the batches out need not read them. The shares depend on the pairs
alone, not on the calls that made them, nor on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from medray.editing.relevance import normalise
from medray.policy.packing import Keys, PackedBatch, PackedPair, merge_batches
from medray.policy.picture import Picture
from medray.policy.scoring.rows import balance
from medray.records import BatchContent

T = TypeVar("T")  # a batch, or a reference to one


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank learns from: its pairs by id, with their weights, of `pairs` on all ranks."""

    weights: dict[str, float]
    pairs: int

    def own(self, pairs: Sequence[PackedPair]) -> list[PackedPair]:
        """Those of `pairs` that are this rank's, with their weights as relevance."""
        return [
            replace(pair, relevance=self.weights[pair.pair_id])
            for pair in pairs
            if pair.pair_id in self.weights
        ]


@dataclass(frozen=True, slots=True)
class RankPairs:
    """What one rank has of a step: its `own` pairs of the `read` ones, at least one, with their
    pictures; `of_step`: pairs on all ranks together."""

    own: list[PackedPair]
    read: list[PackedPair]
    pixels: dict[str, Picture]
    of_step: int

    @classmethod
    def of(cls, share: Share, batches: Sequence[PackedBatch]) -> RankPairs:
        """Its share of the pairs in `batches`."""
        read = merge_batches(batches)
        pixels = {key: array for batch in batches for key, array in batch.pixels.items()}
        return cls(share.own(read), read, pixels, share.pairs)


def split_by_images(batch: PackedBatch, images: Sequence[Keys] = ()) -> list[PackedBatch]:
    """One batch for each of `images`, perhaps empty, and then for all others that pairs are on."""
    pairs: dict[Keys, list[PackedPair]] = {keys: [] for keys in images}
    for pair in batch.pairs:
        pairs.setdefault(pair.image_keys, []).append(pair)
    return [
        PackedBatch(
            tuple(own),
            {k: batch.pixels[k] for p in own for k in (*p.image_keys, *p.corrupted_keys)},
        )
        for own in pairs.values()
    ]


def content_of(batch: PackedBatch) -> BatchContent:
    """The content of a batch whose pairs are on the same images."""
    prompts: dict[Keys, int] = {}
    sides = []
    for pair in batch.pairs:
        for keys in filter(None, (pair.image_keys, pair.corrupted_keys)):
            prompts[keys] = max(prompts.get(keys, 0), len(pair.prompt_ids))
        tails = len(pair.chosen.ids) + len(pair.rejected.ids)
        sides.append((pair.pair_id, len(pair.prefix_ids) + tails))
    images = batch.pairs[0].image_keys if batch.pairs else ()
    return BatchContent(images, tuple(prompts.items()), tuple(sides))


def weigh(relevance: Mapping[str, float], *, weighted: bool) -> dict[str, float]:
    """The weight of each pair in its step, by id: its relevance, normalised over all of them, or 1
    if they are not `weighted`."""
    ids = sorted(relevance)
    if not weighted:
        return dict.fromkeys(ids, 1.0)
    return dict(zip(ids, normalise([relevance[i] for i in ids], "window"), strict=True))


def share_out(
    batches: Sequence[tuple[BatchContent, T]],
    weights: Mapping[str, float],
    ranks: int,
    *,
    complete: bool = False,
) -> list[tuple[Share, list[T]]]:
    """The share of each rank, and the batches that it reads: those of its pairs.

    Pairs on the same images stay together, and each rank gets about as many tokens. One without
    pairs, if there are fewer images than ranks, computes along with the others on a batch of
    theirs. `complete`: every rank reads all batches, because it needs more than its own pairs.
    """
    filled = [(content, batch) for content, batch in batches if content.sides]
    shares = []
    for own in _balance([content for content, _ in filled], ranks):
        share = {i: weights[i] for number in own for i, _ in filled[number][0].sides}
        read = range(len(filled)) if complete else own or range(min(1, len(filled)))
        shares.append((Share(share, len(weights)), [filled[number][1] for number in read]))
    return shares


def _balance(contents: Sequence[BatchContent], ranks: int) -> list[list[int]]:
    """Numbers of the batches of each rank."""
    groups: dict[Keys, list[int]] = {}
    for number, content in enumerate(contents):
        groups.setdefault(content.images, []).append(number)
    in_order = sorted(groups)  # of equal weights the first goes first, whatever calls made them
    tokens = [_tokens([contents[number] for number in groups[keys]]) for keys in in_order]
    return [[n for i in share for n in groups[in_order[i]]] for share in balance(tokens, ranks)]


def _tokens(contents: Sequence[BatchContent]) -> int:
    """Tokens to score of batches on the same images, about: each prompt once per view."""
    prompts: dict[Keys, int] = {}
    for content in contents:
        for keys, length in content.prompts:
            prompts[keys] = max(prompts.get(keys, 0), length)
    return sum(prompts.values()) + sum(own for content in contents for _, own in content.sides)
