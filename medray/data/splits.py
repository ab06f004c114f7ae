"""Which cases are trained on and which are held out; no image is on both sides by accident.

A group (image, patient or study) is never divided. Files with the same bytes are one image
whatever their names, frames of one file stay together, and groups that share an image are one
group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    images, files = set(), set()
    for case in train:
        images.add(image_key(case))
        files.add(_image_source(case))
    return sorted(
        {image_key(c) for c in heldout if image_key(c) in images or _image_source(c) in files}
    )


def shuffled(cases: Iterable[Case], seed: int) -> tuple[Case, ...]:
    """Cases in an order that depends on their ids and the seed, not on their given order."""
    return tuple(sorted(cases, key=lambda case: sort_key(seed, f"order:{case.case_id}")))


def image_key(case: Case) -> str:
    """The key that cases have in common if they show the same image."""
    return case.image_sha256 or f"unreadable:{case.image}"


def _image_source(case: Case) -> str:
    """The file or table row that holds the image, without the frame."""
    reference = parse_reference(case.image)
    return f"{reference.file}#{reference.column}:{reference.row}"


def _group_keys(rows: Sequence[Row], by: GroupBy) -> list[str]:
    """One key per row: the smallest image key among all rows connected to it."""
    parents: dict[str, str] = {}
    nodes = [(image_key(row.case), _group_node(row, by)) for row in rows]
    for image, group in nodes:
        first, second = sorted((_root(parents, f"1 {image}"), _root(parents, f"2 {group}")))
        parents[second] = first
    return [_root(parents, f"1 {image}") for image, _ in nodes]


def _root(parents: dict[str, str], node: str) -> str:
    while (parent := parents.setdefault(node, node)) != node:
        parents[node] = parents[parent]
        node = parents[node]
    return node


def _group_node(row: Row, by: GroupBy) -> str:
    group_of: dict[GroupBy, Callable[[Row], str]] = {
        "image": lambda row: _image_source(row.case),
        "patient": lambda row: row.case.patient_id,
        "study": lambda row: row.study_id,
    }
    value = group_of[by](row)
    if not value:
        raise DataError(
            f"data.split {by}", f"case {row.case.case_id} has no {by}_id", "use data.split=image"
        )
    return value
