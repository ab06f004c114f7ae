"""Which cases are trained on and which are held out; no image is on both sides by accident.

A group (image, patient or study) is never divided. Files with the same bytes are one image
whatever their names, frames of one file stay together, and groups that share an image are one
group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from medray.errors import DataError
from medray.imaging.reference import parse_reference
from medray.records import Case
from medray.seeds import sort_key

GroupBy = Literal["image", "patient", "study"]


@dataclass(frozen=True, slots=True)
class Row:
    """A case with its place in the dataset.

    `split`: "train", "heldout", "validation", or "" if the dataset does not say.

    >>> case = Case("rad-0", "a.png", "00", "Is there a nodule?", "Yes", "closed")
    >>> Row(case, split="heldout").study_id
    ''
    """

    case: Case
    split: str = ""
    study_id: str = ""


def split_by_group(
    rows: Sequence[Row], by: GroupBy, share: float, seed: int
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """(train, heldout): `share` of the groups, drawn by a hash of (seed, group), is held out.

    With two groups or more, each side gets at least one. Raises DataError if the cases have no
    patient or study to group by.
    """
    keys = _group_keys(rows, by)
    order = sorted(set(keys), key=lambda key: sort_key(seed, f"{by}:{key}"))
    count = min(max(round(share * len(order)), 1), len(order) - 1)
    chosen = set(order[:count])
    train = tuple(row.case for row, key in zip(rows, keys, strict=True) if key not in chosen)
    heldout = tuple(row.case for row, key in zip(rows, keys, strict=True) if key in chosen)
    return train, heldout


def leaks(train: Iterable[Case], heldout: Iterable[Case]) -> list[str]:
    """Held-out images that are also in training, or have another frame of their file there.

    Returns sorted image keys (sha256, or the path of an unreadable file).
    """
    known = {each for case in train for both in _keys_and_sources(case) for each in both}
    shown = (both for case in heldout for both in _keys_and_sources(case))
    return sorted({key for key, source in shown if key in known or source in known})


def shuffled(cases: Iterable[Case], seed: int) -> tuple[Case, ...]:
    """Cases in an order that depends on their ids and the seed, not on their given order."""
    return tuple(sorted(cases, key=lambda case: sort_key(seed, f"order:{case.case_id}")))


def image_keys(case: Case) -> list[str]:
    """A key per image of a case; cases that show the same image have its key in common."""
    return [image.sha256 or f"unreadable:{image.path}" for image in case.images]


def _image_sources(case: Case) -> list[str]:
    """Of each image the file or table row that holds it, without the frame."""
    references = [parse_reference(image.path) for image in case.images]
    return [f"{each.file}#{each.column}:{each.row}" for each in references]


def _keys_and_sources(case: Case) -> Iterator[tuple[str, str]]:
    """(key, where it lies) of each image."""
    for key, source in zip(image_keys(case), _image_sources(case), strict=True):
        yield key, f"in {source}"


def _group_keys(rows: Sequence[Row], by: GroupBy) -> list[str]:
    """One key per row: the smallest image key among all rows connected to it."""
    parents: dict[str, str] = {}
    nodes = [[f"1 {key}" for key in image_keys(row.case)] for row in rows]
    for row, images in zip(rows, nodes, strict=True):
        for node in [*images[1:], *(f"2 {group}" for group in _group_nodes(row, by))]:
            first, second = sorted((_root(parents, images[0]), _root(parents, node)))
            parents[second] = first
    return [_root(parents, images[0]) for images in nodes]


def _root(parents: dict[str, str], node: str) -> str:
    while (parent := parents.setdefault(node, node)) != node:
        parents[node] = parents[parent]
        node = parents[node]
    return node


def _group_nodes(row: Row, by: GroupBy) -> list[str]:
    """What a row is grouped by: its patient, its study, or the files of its images."""
    if by == "image":
        return _image_sources(row.case)
    value = row.case.patient_id if by == "patient" else row.study_id
    if not value:
        raise DataError(
            f"data.split {by}", f"case {row.case.case_id} has no {by}_id", "use data.split=image"
        )
    return [value]
