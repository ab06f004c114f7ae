"""From the `data` section of a configuration to training and held-out cases.

reader ──rows──▶ digests ──▶ split ──▶ seeded order ──▶ limit ──▶ Dataset
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from medray.config import DataConfig
from medray.data.readers import READERS
from medray.data.splits import Row, image_key, leaks, shuffled, split_by_group
from medray.errors import DataError
from medray.imaging.digests import Digests
from medray.records import Case

Split = tuple[tuple[Case, ...], tuple[Case, ...]]

# Kinds whose rows' own split is always used: the user made it. The official split of the
# others may leak images, so it must be requested.
OWN_SPLIT = ("jsonl", "phantom", "dicom", "pairs")
CHUNK = 4096  # rows whose images are read together
GIVEN = "pairs"  # the kind whose cases are pairs already


@dataclass(frozen=True, slots=True)
class Dataset:
    """Cases in order of use. `notes`: sentences for the plan and the report."""

    name: str
    train: tuple[Case, ...]
    heldout: tuple[Case, ...]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of which cases are on which side, with their images and texts, in order."""
        digest = hashlib.sha256()
        for side, cases in (("train", self.train), ("heldout", self.heldout)):
            for case in cases:
                parts = [side, case.case_id, case.image_sha256, case.question, case.reference]
                if case.given is not None:
                    parts.append(repr(replace(case.given, rejected_image="")))
                digest.update("\0".join(parts).encode("utf-8", "replace") + b"\n")
        return digest.hexdigest()


def read_rows(kind: str, path: str | None, digests: Digests | None = None) -> Iterator[Row]:
    """The rows of a dataset, with the digests of their images. Raises DataError."""
    digests = digests or Digests()
    rows = iter(READERS[kind](path))
    while chunk := list(islice(rows, CHUNK)):
        found = digests.of({row.case.image for row in chunk if not row.case.image_sha256})
        for row in chunk:
            if row.case.image_sha256:
                yield row
            else:
                digest = found[row.case.image]
                yield replace(row, case=replace(row.case, image_sha256=digest))


def open_dataset(config: DataConfig, digests: Digests | None = None) -> Dataset:
    """Read, split, order and limit a dataset; the same `data.seed` gives the same cases in order.

    Raises DataError if the dataset is missing, is not what it claims to be, or leaves one side
    of the split empty.
    """
    where = config.path or "data.path"
    rows = list(read_rows(config.kind, config.path, digests))
    if not rows:
        raise DataError(where, "holds no case", "give a dataset with at least two images")
    own = config.kind in OWN_SPLIT and any(row.split for row in rows)
    if own or config.split == "official":
        train, heldout = _own_split(rows, where)
    else:
        train, heldout = split_by_group(rows, config.split, config.heldout, config.seed)
    sides = {"training": train, "held-out": heldout}
    if config.kind == GIVEN:
        del sides["held-out"]  # all pairs may be trained on
    for name, side in sides.items():
        if not side:
            raise DataError(
                where, f"the split leaves no {name} case", "change data.split or data.heldout"
            )
    notes = _notes(rows, train, heldout, "the dataset's own" if own else config.split)
    ordered = shuffled(train, config.seed)
    return Dataset(config.kind, ordered[: config.limit], shuffled(heldout, config.seed), notes)


def evaluated_on(dataset: Dataset, config: DataConfig, digests: Digests | None = None) -> Dataset:
    """The dataset with the cases of another one held out: its own held-out part if its rows have a
    split, else all of its cases. Raises DataError."""
    where = config.path or "eval.data.path"
    rows = list(read_rows(config.kind, config.path, digests))
    own = config.kind in OWN_SPLIT or config.split == "official"
    if own and any(row.split for row in rows):
        cases = _own_split(rows, where)[1]
    else:
        cases = tuple(row.case for row in rows)
    if not cases:
        raise DataError(where, "holds no case to evaluate on", "correct eval.data")
    images = len(set(map(image_key, cases)))
    notes = [f"evaluated on {config.kind}: {len(cases)} cases over {images} images"]
    if shared := leaks(dataset.train, cases):
        notes.append(f"leak: {len(shared)} of these images are also in training")
    ordered = shuffled(cases, config.seed)[: config.limit]
    return replace(dataset, heldout=ordered, notes=(*dataset.notes, *notes))


def _own_split(rows: Sequence[Row], where: str) -> Split:
    for row in rows:
        if not row.split:
            raise DataError(
                where,
                f"case {row.case.case_id} has no split",
                "give every row one, or none and data.split=image",
            )
    # validation cases are held out if there is no test part, and otherwise unused
    heldout = "heldout" if any(row.split == "heldout" for row in rows) else "validation"
    train = tuple(row.case for row in rows if row.split == "train")
    return train, tuple(row.case for row in rows if row.split == heldout)


def _notes(
    rows: Sequence[Row], train: Sequence[Case], heldout: Sequence[Case], split: str
) -> tuple[str, ...]:
    sides = [
        f"{len(side)} {name} cases over {len(set(map(image_key, side)))} images"
        for side, name in ((train, "training"), (heldout, "held-out"))
    ]
    notes = [f"split {split}: {sides[0]}, {sides[1]}"]
    if aside := len(rows) - len(train) - len(heldout):
        notes.append(f"{aside} validation cases are set aside, test cases being held out")
    shared = leaks(train, heldout)
    if shared:
        images = len({image_key(case) for case in heldout})
        remedy = "data.split=image" if split == "official" else "a split by image"
        notes.append(
            f"leak: {len(shared)} of {images} held-out images are also in training; "
            f"{remedy} keeps them apart"
        )
    patients = {case.patient_id for case in train} & {case.patient_id for case in heldout}
    if patients := patients - {""}:
        notes.append(
            f"leak: {len(patients)} held-out patients are also in training; "
            "data.split=patient keeps them apart"
        )
    unreadable = {row.case.image for row in rows if not row.case.image_sha256}
    if unreadable:
        notes.append(f"{len(unreadable)} images cannot be read; their cases will be dropped")
    return tuple(notes)
