"""From the `data` section of a configuration to training and held-out cases.

reader ──rows──▶ digests ──▶ split ──▶ seeded order ──▶ limit ──▶ Dataset
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from medray.config import DataConfig
from medray.data.readers import READERS
from medray.data.splits import Row, image_keys, leaks, shuffled, split_by_group
from medray.errors import DataError
from medray.imaging.digests import Digests
from medray.imaging.places import Places
from medray.process import without_looking
from medray.records import Case

Split = tuple[tuple[Case, ...], tuple[Case, ...]]

# Kinds whose rows' own split is always used: the user made it. The official split of the
# others may leak images, so it must be requested.
OWN_SPLIT = ("jsonl", "phantom", "dicom", "pairs")
CHUNK = 4096  # rows whose images are read together
IMPORTED = ("parquet", "pairs")  # kinds whose files name images by where they were
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
                parts += [image.sha256 for image in case.other_images]
                if case.given is not None:
                    parts.append(repr(replace(case.given, rejected_image="")))
                digest.update("\0".join(parts).encode("utf-8", "replace") + b"\n")
        return digest.hexdigest()


def read_rows(
    kind: str,
    path: str | None,
    digests: Digests | None = None,
    *,
    max_images: int | None = None,
    roots: Sequence[str] | None = None,
) -> Iterator[Row]:
    """The rows of a dataset, with the digests of their images. Raises DataError.

    `max_images`: of each case only the first ones, with their regions. `roots`: folders in which
    images and masks must be, beside the dataset's own; None: anywhere.
    """
    digests = digests or Digests()
    rows = iter(READERS[kind](path))
    if roots is not None:
        rows = map(partial(_require_inside, _places(path, roots)), rows)
    if max_images is not None:
        rows = (replace(row, case=_with_first(row.case, max_images)) for row in rows)
    while chunk := list(islice(rows, CHUNK)):
        images = [image for row in chunk for image in row.case.images if not image.sha256]
        found = digests.of({image.path for image in images})
        for row in chunk:
            yield replace(row, case=_with_digests(row.case, found))


def _places(path: str | None, roots: Sequence[str] = ()) -> Places:
    """The folder of a dataset, and others."""
    own = Path(path or ".")
    return Places([own if own.is_dir() else own.parent, *roots])


def _files(case: Case) -> list[str]:
    """The paths of the images and masks of a case."""
    given = case.given.rejected_image if case.given else ""
    masks = (region.mask for region in case.regions)
    return [path for path in (*(i.path for i in case.images), *masks, given) if path]


def _require_inside(places: Places, row: Row) -> Row:
    """The row. Raises DataError if an image or a mask of it is elsewhere, before it is opened."""
    if not all(map(places.hold, _files(row.case))):
        why = "an image or a mask of it is neither in the dataset's folder nor in data.roots"
        raise DataError(f"case {row.case.case_id}", why, "add its folder to data.roots")
    return row


def _with_first(case: Case, images: int) -> Case:
    """The case with no more than so many images."""
    if len(case.images) <= images:
        return case
    regions = tuple(region for region in case.regions if region.image < images)
    return replace(case, other_images=case.other_images[: images - 1], regions=regions)


def _with_digests(case: Case, found: Mapping[str, str]) -> Case:
    """The case with the digests of its images; those it has stay."""
    others = tuple(replace(i, sha256=i.sha256 or found[i.path]) for i in case.other_images)
    own = case.image_sha256 or found[case.image]
    return replace(case, image_sha256=own, other_images=others)


@without_looking()
def open_dataset(config: DataConfig, digests: Digests | None = None) -> Dataset:
    """Read, split, order and limit a dataset; the same `data.seed` gives the same cases in order.

    Raises DataError if the dataset is missing, is not what it claims to be, or leaves one side
    of the split empty.
    """
    where = config.path or "data.path"
    rows = _rows(config, digests)
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
    notes += tuple(_outside(config, rows))
    ordered = shuffled(train, config.seed)
    return Dataset(config.kind, ordered[: config.limit], shuffled(heldout, config.seed), notes)


def _rows(config: DataConfig, digests: Digests | None) -> list[Row]:
    kind, path, most, roots = config.kind, config.path, config.max_images, config.roots
    return list(read_rows(kind, path, digests, max_images=most, roots=roots))


def _outside(config: DataConfig, rows: Sequence[Row]) -> Iterator[str]:
    """A note if images are outside the dataset, whose rows nobody here may have written."""
    if config.roots is None and config.kind not in IMPORTED:
        places = _places(config.path)
        files = {file for row in rows for file in _files(row.case)}
        if count := sum(not places.hold(file) for file in files):
            yield (
                f"{count} of {len(files)} images and masks are outside the dataset's folder; "
                "data.roots bounds where they may be"
            )


def evaluated_on(dataset: Dataset, config: DataConfig, digests: Digests | None = None) -> Dataset:
    """The dataset with the cases of another one held out: its own held-out part if its rows have a
    split, else all of its cases. Raises DataError."""
    where = config.path or "eval.data.path"
    rows = _rows(config, digests)
    own = config.kind in OWN_SPLIT or config.split == "official"
    if own and any(row.split for row in rows):
        cases = _own_split(rows, where)[1]
    else:
        cases = tuple(row.case for row in rows)
    if not cases:
        raise DataError(where, "holds no case to evaluate on", "correct eval.data")
    count = len(_images(cases))
    notes = [f"evaluated on {config.kind}: {len(cases)} cases over {count} images"]
    notes += _outside(config, rows)
    if shared := leaks(dataset.train, cases):
        notes.append(f"leak: {len(shared)} of these images are also in training")
    ordered = shuffled(cases, config.seed)[: config.limit]
    return replace(dataset, heldout=ordered, notes=(*dataset.notes, *notes))


def _images(cases: Iterable[Case]) -> set[str]:
    """The keys of the images of cases, each once."""
    return {key for case in cases for key in image_keys(case)}


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
        f"{len(side)} {name} cases over {len(_images(side))} images"
        for side, name in ((train, "training"), (heldout, "held-out"))
    ]
    notes = [f"split {split}: {sides[0]}, {sides[1]}"]
    if aside := len(rows) - len(train) - len(heldout):
        notes.append(f"{aside} validation cases are set aside, test cases being held out")
    shared = leaks(train, heldout)
    if shared:
        count = len(_images(heldout))
        remedy = "data.split=image" if split == "official" else "a split by image"
        notes.append(
            f"leak: {len(shared)} of {count} held-out images are also in training; "
            f"{remedy} keeps them apart"
        )
    patients = {case.patient_id for case in train} & {case.patient_id for case in heldout}
    if patients := patients - {""}:
        notes.append(
            f"leak: {len(patients)} held-out patients are also in training; "
            "data.split=patient keeps them apart"
        )
    images = (image for row in rows for image in row.case.images)
    unreadable = {image.path for image in images if not image.sha256}
    if unreadable:
        notes.append(f"{len(unreadable)} images cannot be read; their cases will be dropped")
    return tuple(notes)
