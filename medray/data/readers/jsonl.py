"""One JSON object per line: medray's own layout, also used by the phantom dataset.

    {"id": "a-1", "image": "images/a.png", "question": "…", "answer": "…",
     "answer_type": "closed", "split": "train", "patient_id": "…", "study_id": "…",
     "regions": [{"label": "nodule", "box": [10, 12, 20, 24]}, {"label": "…", "mask": "m.png"}],
     "truth": {"side": "left"}, "source": "…", "licence": "CC-BY-4.0"}

`image`, `question` and `answer` are required. A case of several images has a list `images` instead
of `image`, and a region on another one than the first its number: {"image": 1, "box": …}, from 0.
Paths are relative to the file; a missing `id`
becomes the line number ("row-12"), as files and folders may be named after patients. "scan.dcm#3"
is the third frame of a multi-frame file, "mask.png#5" the pixels of value 5. Instead of `regions`,
rows may have `mask` (paths) or else `boxes` ({"label", "xyxy"}), as lesion datasets do. `options`
(or `choices`), a list of texts or a mapping from letters, make a multiple-choice question; `answer`
is a letter or a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from medray.data.readers.options import option_reference, read_options, with_options
from medray.data.regions import read_regions
from medray.data.rows import (
    FieldError,
    existing_folder,
    image_names,
    infer_answer_type,
    is_scalar,
    parse_json,
    words,
)
from medray.data.sources import lines
from medray.data.splits import Row
from medray.errors import DataError
from medray.records import AnswerType, Case, ImageFile, Region

FILE_NAME = "records.jsonl"
DEFAULT_ID = "row"  # and the number of the row
SPLITS = {"train": "train", "heldout": "heldout", "test": "heldout", "validation": "validation"}
TEXTS = ("id", "answer_type", "split", "patient_id", "study_id", "source", "licence")


def read_jsonl(path: str | None) -> list[Row]:
    """All rows of a .jsonl file, or of records.jsonl in a folder, in the file's order.

    Raises DataError naming the file, the line and the field at fault.
    """
    return list(stream_jsonl(path))


def stream_jsonl(path: str | None) -> Iterator[Row]:
    """Like `read_jsonl`, one row at a time."""
    given = existing_folder(path, "jsonl")
    file = given / FILE_NAME if given.is_dir() else given
    if not file.exists():
        raise DataError(str(given), f"no {FILE_NAME} in it", "give its folder or a .jsonl file")
    seen: dict[str, int] = {}
    for number, line in lines(file):
        where = f"{file}:{number}"
        row = _read(parse_json(line, where), file, number)
        first = seen.setdefault(row.case.case_id, number)
        if first != number:
            raise DataError(
                f"{where}: id = {row.case.case_id!r}", f"is also on line {first}", "make ids unique"
            )
        yield row


def read_phantom(path: str | None) -> list[Row]:
    """Like `read_jsonl`; if the folder is missing, the error tells how to write one."""
    if not path or not Path(path).exists():
        raise DataError(
            path or "data.path", "no phantom dataset there", "write one: medray phantom write DIR"
        )
    return read_jsonl(path)


def _read(item: Any, file: Path, number: int) -> Row:
    where = f"{file}:{number}"
    if not isinstance(item, dict):
        raise DataError(where, "is not a JSON object", "write one object per line")
    try:
        return read_row(item, file.parent, f"{DEFAULT_ID}-{number}")
    except FieldError as error:
        raise DataError(f"{where}: {error.field}", error.why, "correct the line") from None


def read_row(item: dict[str, Any], folder: Path, default_id: str) -> Row:
    """A row from its JSON; paths are relative to `folder`, `default_id` replaces a missing id."""
    first, *others = (str(folder / name) for name in image_names(item))
    for key in ("question", "answer"):
        if key not in item:
            raise FieldError(key, "is missing")
    if not isinstance(item["question"], str) or not item["question"].strip():
        raise FieldError("question", "is not a text, or empty")
    for key in (*TEXTS, "answer"):
        if not is_scalar(item.get(key)):
            raise FieldError(key, "is not a text or number")
    question, answer = words(item["question"]), words(item["answer"])
    if not question:
        raise FieldError("question", "is a missing value, or holds control characters only")
    answer_type = _answer_type(words(item.get("answer_type")), answer)
    if options := read_options(item):
        question, answer = with_options(question, options), option_reference(answer, options)
        answer_type = "choice"
    elif answer_type == "choice":
        raise FieldError("options", "is missing for an answer of type choice")
    case = Case(
        case_id=words(item.get("id")) or default_id,
        image=first,
        image_sha256="",
        question=question,
        reference=answer,
        answer_type=answer_type,
        regions=_regions(item, folder, 1 + len(others)),
        truth=_truth(item.get("truth")),
        patient_id=words(item.get("patient_id")),
        source=words(item.get("source")) or words(item.get("dataset")),
        licence=words(item.get("licence")),
        other_images=tuple(map(ImageFile, others)),
    )
    split = words(item.get("split"))
    if split and split not in SPLITS:
        raise FieldError("split", f"{split!r} is not one of {', '.join(SPLITS)}")
    return Row(case, split=SPLITS.get(split, ""), study_id=words(item.get("study_id")))


def _regions(item: dict[str, Any], folder: Path, images: int) -> tuple[Region, ...]:
    """The regions of a row with so many images."""
    regions = read_regions(item, folder)
    for i, region in enumerate(regions):
        if region.image >= images:
            what = f"is {region.image}, and the row has {images} images, counted from 0"
            raise FieldError(f"regions[{i}].image", what)
    return regions


def _answer_type(given: str, answer: str) -> AnswerType:
    if not given:
        return infer_answer_type(answer)
    for known in get_args(AnswerType):
        if given.lower() == known:
            return known
    raise FieldError("answer_type", f"{given!r} is not one of {', '.join(get_args(AnswerType))}")


def _truth(value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise FieldError("truth", "is not a mapping of attributes")
    for name, attribute in value.items():
        if not is_scalar(attribute):
            raise FieldError(f"truth.{name}", "is not a text or number")
    return tuple((str(name), words(attribute)) for name, attribute in value.items())
