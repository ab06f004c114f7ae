"""How many cases of each side of a dataset can be used, and why not the others."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from medray.data.check import DETAILED
from medray.data.dataset import Dataset
from medray.data.rows import path_hint, placeholder
from medray.errors import DataError, ItemError
from medray.imaging.load import image_size
from medray.imaging.reference import parse_reference
from medray.imaging.regions import read_mask
from medray.records import Case

SAMPLE = 5000  # cases of a side, spread evenly
MASKS = 50  # of them that are read
LARGE = 0.5  # of an image: more than lesions cover
NO_REFERENCE, PLACEHOLDER = "empty-reference", "placeholder"


@dataclass(slots=True)
class Usability:
    """Of `cases` looked at, how many cannot be used, by reason; hints for whoever made the rows,
    each once; how many boxes do not fit their image; and what is odd about the first masks."""

    cases: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    hints: dict[str, None] = field(default_factory=dict)
    boxes: int = 0
    outside: int = 0
    beyond: int = 0
    masks: int = 0
    large: int = 0
    empty: int = 0

    @property
    def none(self) -> bool:
        return 0 < self.cases == self.unusable.total()

    def reasons(self) -> str:
        hints = "".join(f"; {hint}" for hint in self.hints)
        return ", ".join(f"{reason} {n}" for reason, n in self.unusable.most_common()) + hints


def with_usability(dataset: Dataset, where: str, *, references: bool) -> Dataset:
    """The dataset, with notes on cases that cannot be used.

    `where`: its place, for messages; `references`: whether a training case needs its reference.
    Raises DataError if all cases of a side are unusable.
    """
    notes = list(dataset.notes)
    size = functools.lru_cache(maxsize=2 * SAMPLE)(_size)
    sides = (("training", dataset.train, references), ("held-out", dataset.heldout, False))
    for name, cases, needed in sides:
        found = usability(cases, references=needed, size=size)
        if found.none:
            why = f"no {name} case can be used: {found.reasons()}"
            raise DataError(where, why, "correct the rows, or the files that they name")
        of = f"{found.unusable.total()} of {found.cases} {name} cases"
        if found.unusable:
            notes.append(f"{of} cannot be used and will be dropped: {found.reasons()}")
        notes += _notes_on_regions(found, name)
    return replace(dataset, notes=tuple(notes))


def _notes_on_regions(found: Usability, name: str) -> Iterator[str]:
    if found.outside or found.beyond:
        yield (
            f"{found.outside} of {found.boxes} boxes of {name} cases lie outside their image, "
            f"{found.beyond} reach beyond it: are they in pixels of another size?"
        )
    if found.large:
        yield (
            f"{found.large} of {found.masks} masks of {name} cases mark more than half of their "
            "image: is their background white?"
        )
    if found.empty:
        yield f"{found.empty} of {found.masks} masks of {name} cases mark nothing"


def usability(
    cases: Sequence[Case], *, references: bool, size: Callable[[str], tuple[int, int] | str]
) -> Usability:
    """Count what can be used of an even sample of the cases. `size`: of an image, or its fault."""
    count = min(SAMPLE, len(cases))
    found = Usability(count)
    for case in (cases[i * len(cases) // count] for i in range(count)):
        sizes = [size(image.path) for image in case.images]
        faults = [n for n, shape in enumerate(sizes) if isinstance(shape, str)]
        if faults:
            found.unusable[str(sizes[faults[0]])] += 1
            if hint := image_hint(case.images[faults[0]].path):
                found.hints.setdefault(hint)
            continue
        if references and not case.reference.strip():
            found.unusable[NO_REFERENCE] += 1
        elif references and placeholder(case.reference):
            found.unusable[PLACEHOLDER] += 1
        shapes = [shape for shape in sizes if not isinstance(shape, str)]
        _count_boxes(found, case, shapes)
        _count_masks(found, case, shapes)
    return found


def _size(image: str) -> tuple[int, int] | str:
    """(height, width) of an image, or why it cannot be used."""
    try:
        return image_size(image)
    except ItemError as error:
        detail = error.what.removeprefix(f"{parse_reference(image).name}: ")
        return f"{error.reason} ({detail})" if error.reason in DETAILED else error.reason


def _count_boxes(found: Usability, case: Case, sizes: Sequence[tuple[int, int]]) -> None:
    """`sizes`: (height, width) of each image of the case."""
    for region in case.regions:
        if region.box is None:
            continue
        found.boxes += 1
        (x0, y0, x1, y1), (height, width) = region.box, sizes[region.image]
        if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
            found.outside += 1
        elif x0 < -1 or y0 < -1 or x1 > width + 1 or y1 > height + 1:
            found.beyond += 1


def _count_masks(found: Usability, case: Case, sizes: Sequence[tuple[int, int]]) -> None:
    """Those that can be read; the others are dropped in a run, with their reason."""
    for region in case.regions:
        if region.mask is None or found.masks >= MASKS:
            continue
        with contextlib.suppress(ItemError):
            marked = float(read_mask(region.mask, *sizes[region.image]).mean())
            found.masks += 1
            found.large += marked > LARGE
            found.empty += marked == 0.0


def image_hint(image: str) -> str:
    """What is likely wrong with an image's path at which there is no file; "" if nothing is odd.

    >>> image_hint("data/https:/host/a.png")
    'download images first: only files are read, no URLs'
    """
    path = parse_reference(image).file
    if os.path.exists(path):
        return ""
    if re.search(r"(^|/)[a-z][a-z0-9+.-]+:/", path):
        return "download images first: only files are read, no URLs"
    if re.search(r"(^|/)~", path):
        return path_hint("~")
    if "\\" in path or re.search(r"(^|/)[A-Za-z]:", path):
        return path_hint("\\")
    folder, name = os.path.split(path)
    if os.path.isdir(folder) and name.lower() in map(str.lower, os.listdir(folder)):
        return "names of files differ in upper and lower case"
    return ""
