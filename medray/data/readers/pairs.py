"""Preference pairs made elsewhere, as cases: what is preferred is the reference.

    pairs.parquet    as `medray data import` and `medray data export RUN --to pairs` write it

Pairs whose split is "heldout" or "validation" are held out; all others are trained on.
"""

from __future__ import annotations

from collections.abc import Iterator

from medray.data.pairs.base import PreferencePair
from medray.data.rows import existing_folder, infer_answer_type
from medray.data.splits import Row
from medray.data.tables import read_pairs
from medray.errors import DataError
from medray.records import Case, GivenSide


def read_given_pairs(path: str | None) -> Iterator[Row]:
    """The rows of a Parquet file of pairs. Raises DataError, also if an id occurs twice."""
    file = existing_folder(path, "pairs")
    if file.is_dir():
        raise DataError(str(file), "is a folder", "give the file that `medray data import` wrote")
    seen: set[str] = set()
    for pair in read_pairs(file):
        if pair.pair_id in seen:
            why = f"pair {pair.pair_id!r} occurs twice"
            raise DataError(str(file), why, "give every pair an id of its own, and import it again")
        seen.add(pair.pair_id)
        yield Row(_case(pair), split=pair.split or "train")


def _case(pair: PreferencePair) -> Case:
    given = GivenSide(
        pair.rejected,
        pair.rejected_image,
        pair.chosen_spans,
        pair.rejected_spans,
        pair.score,
        pair.response_was_correct,
    )
    return Case(
        case_id=pair.pair_id,
        image=pair.image,
        image_sha256=pair.image_sha256,
        question=pair.question,
        reference=pair.chosen,
        answer_type=infer_answer_type(pair.chosen),
        source=pair.source,
        licence=pair.licence,
        given=given,
    )
