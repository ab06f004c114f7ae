"""The files that readers saved from the page, checked."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from medray.errors import DataError
from medray.files import read_file
from medray.review.key import AnyKey, read_key

Answer = Literal["A", "B", "both", "neither", "cannot tell"]
_AGAIN = "save it again from the page, or leave it out"


class Grade(BaseModel):
    """What a reader answered about one pair, by its id in the page.

    `right`: None if only a comment was left. `reads_well`: of the side that is right, or of both.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    pair: str
    right: Answer | None
    reads_well: bool | None
    comment: str


class GradeFile(BaseModel):
    """The answers of one reader. `checksum` is the page's CRC-32 of all of it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    format: Literal["medray-review-1"]
    review: str
    reader: str
    grades: list[Grade]
    checksum: str

    def expected_checksum(self) -> str:
        values = [self.review, self.reader]
        for grade in self.grades:
            reads_well = "" if grade.reads_well is None else str(grade.reads_well).lower()
            values += [grade.pair, grade.right or "", reads_well, grade.comment]
        content = "\x1f".join(values).encode("utf-8", "replace")
        return f"{zlib.crc32(content):08x}"


Grades = dict[str, dict[str, Grade]]  # reader → pair's id in the page → grade


def read_grades(run: Path, paths: Sequence[Path]) -> tuple[AnyKey, Grades]:
    """The grades in files of one review of a run, and its key.

    A reader without a name is called by the number of the file. Raises DataError, naming the file,
    if it is not as the page saved it, is of another run or review, or repeats a pair or a reader.
    """
    files = [_parse(path) for path in paths]
    keys = [_key(run, path, file) for path, file in zip(paths, files, strict=True)]
    grades: Grades = {}
    for number, (path, file) in enumerate(zip(paths, files, strict=True), 1):
        if file.review != keys[0].id:
            why = f"is of review {file.review}, {paths[0]} of {keys[0].id}"
            raise DataError(str(path), why, "read one review at a time")
        if file in files[: number - 1]:
            todo = "give each file once; readers who agree in everything save with their names"
            raise DataError(str(path), f"is the same as {paths[files.index(file)]}", todo)
        reader = file.reader or f"reader {number}"
        if reader in grades:
            why = f"is a second file of {reader}"
            raise DataError(str(path), why, "give the newest file of each reader")
        grades[reader] = _checked(path, file, keys[0])
    if not any(grade.right for given in grades.values() for grade in given.values()):
        raise DataError(str(paths[0]), "has no answers", "grade some pairs")
    return keys[0], grades


def _key(run: Path, path: Path, file: GradeFile) -> AnyKey:
    key = read_key(run, file.review)
    if key is None:
        why = f"{run} has no review {file.review[:40]}"
        raise DataError(str(path), why, "give the run that its page was made from")
    return key


def _parse(path: Path) -> GradeFile:
    try:
        file = GradeFile.model_validate(json.loads(read_file(path)))
    except OSError as error:
        raise DataError(str(path), error.strerror or "cannot be read", "check the path") from None
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "file"
        why = f"is not a file of grades ({place}: {problem['msg']})"
        raise DataError(str(path), why, _AGAIN) from None
    except (ValueError, RecursionError) as error:
        raise DataError(str(path), f"is not JSON ({error})", _AGAIN) from None
    if file.checksum != file.expected_checksum():
        raise DataError(str(path), "was changed since the page saved it", _AGAIN)
    return file


def _checked(path: Path, file: GradeFile, key: AnyKey) -> dict[str, Grade]:
    """The grades by pair; each of a pair of the review, and once."""
    names = Counter(grade.pair for grade in file.grades)
    unknown = sorted(names.keys() - key.pairs.keys())
    if unknown:
        why = f"grades a pair that is not in the review ({unknown[0][:40]})"
        raise DataError(str(path), why, _AGAIN)
    name, times = max(names.items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise DataError(str(path), f"grades pair {name} {times} times", _AGAIN)
    return {grade.pair: grade for grade in file.grades}
