"""The pairs that a run was trained on, as other trainers take them.

Other layouts know no pair of a sentence: both sides are given with the beginning of the answer that
they stand behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from medray.data.dataset import open_dataset
from medray.data.pairs.base import PreferencePair, Spans
from medray.errors import DataError
from medray.ledger import read_steps
from medray.records import Case
from medray.rundir import RunDirectory


def is_run(path: Path) -> bool:
    return path.is_dir() and RunDirectory(path).holds_run


def run_pairs(path: Path) -> Iterator[PreferencePair]:
    """The trained pairs of a run, in order of training, with the images of its dataset.

    Raises DataError if the run has none, or if a case of it is not in the dataset any more.
    """
    run = RunDirectory.open(path)
    config = run.read_config()
    dataset = open_dataset(config.data)
    cases = {case.case_id: case for case in dataset.train}
    trained = False
    for row in _trained_rows(run):
        case = cases.get(row["case_id"])
        seen = [row["image_sha256"] or "", *(row["other_images_sha256"] or ())]
        if case is None or [image.sha256 for image in case.images] != seen:
            why = f"case {row['case_id']} is not what the run was trained on"
            raise DataError(str(config.data.path), why, "restore the dataset of the run")
        yield _pair(row, case, config.data.kind)
        trained = True
    if not trained:
        raise DataError(str(path), "has no trained pair", "let the run do a step")


def _trained_rows(run: RunDirectory) -> Iterator[dict[str, Any]]:
    for table in read_steps(run.ledger):
        yield from table.filter(pc.equal(table["status"], "trained")).to_pylist()


def _pair(row: dict[str, Any], case: Case, source: str) -> PreferencePair:
    prefix = row["prefix"] or ""
    return PreferencePair(
        pair_id=row["pair_id"],
        image=case.image,
        image_sha256=case.image_sha256,
        question=row["question"],
        chosen=prefix + row["chosen"],
        rejected=prefix + row["rejected"],
        chosen_spans=_spans(row["chosen_spans"], len(prefix)),
        rejected_spans=_spans(row["rejected_spans"], len(prefix)),
        score=row["relevance"],
        response_was_correct=row["response_was_correct"],
        split="train",
        source=case.source or source,
        licence=case.licence,
        other_images=case.other_images,
    )


def _spans(spans: list[dict[str, Any]] | None, by: int) -> Spans:
    return tuple((span["start"] + by, span["end"] + by) for span in spans or ())
