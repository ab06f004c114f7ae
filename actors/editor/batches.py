"""What a call that makes pairs returns: its results, and its pairs as batches.

One rank of the learner reads everything: one batch. Several ranks share a step out by its images:
a batch for each of the images that the call is about.
"""

from __future__ import annotations

from collections.abc import Sequence

from medray.data.stream import image_sets
from medray.policy.packing import PackedBatch
from medray.policy.shares import content_of, split_by_images
from medray.records import Case, Continuation, Dropped, EditResults, Pair


def count_batches(cases: Sequence[Case], ranks: int) -> int:
    """How many batches a call about `cases` returns beside its results."""
    return 1 if ranks < 2 else len(image_sets(cases))


def finish(
    results: Sequence[Pair | Dropped | Continuation],
    batch: PackedBatch,
    cases: Sequence[Case],
    ranks: int,
) -> tuple[EditResults, *tuple[PackedBatch, ...]]:
    """The results and batches of a call about `cases`."""
    batches = [batch] if ranks < 2 else split_by_images(batch, image_sets(cases))
    return EditResults(tuple(results), tuple(map(content_of, batches))), *batches
