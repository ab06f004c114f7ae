"""PathVQA in its own layout: per split, a file of questions and a folder of images.

    qas/train/train_qa.pkl   images/train/train_0001.jpg

The questions may also be .json or .jsonl, in `qas/` or beside `images/`. Pickles may contain
plain values only: one that names a class or function is refused, so it cannot run code.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.data.rows import (
    existing_folder,
    infer_answer_type,
    locate_errors,
    mapping,
    optional,
    path_text,
    required,
)
from medray.data.sources import rows_of
from medray.data.splits import Row
from medray.errors import DataError
from medray.files import open_file
from medray.records import Case

SPLITS = {"train": "train", "val": "validation", "test": "heldout"}
PLACES = ("qas/{0}/{0}_qa", "qas/{0}/{0}", "qas/{0}_qa", "qas/{0}", "{0}/{0}_qa", "{0}_qa", "{0}")
ENDINGS = (".pkl", ".jsonl", ".json")
IMAGES = ("images/{0}/{1}", "{0}/images/{1}", "{0}/{1}", "images/{1}")
SOURCE, LICENCE = "pathvqa", "MIT"


def read_pathvqa(path: str | None) -> Iterator[Row]:
    """All question-answer pairs, split by split."""
    folder = existing_folder(path, "pathvqa")
    files = {split: _questions(folder, split) for split in SPLITS}
    if not any(files.values()):
        raise DataError(
            str(folder),
            f"not PathVQA: no {PLACES[0].format('train')}.pkl in it",
            "give the folder that holds qas/ and images/",
        )
    for split, file in files.items():
        if file is not None:
            for number, (where, value) in enumerate(_items(file)):
                item = mapping(value, where)
                with locate_errors(where):
                    case = _case(item, folder, split, number)
                yield Row(case, split=SPLITS[split])


def _questions(folder: Path, split: str) -> Path | None:
    names = [folder / (place.format(split) + ending) for place in PLACES for ending in ENDINGS]
    return next((file for file in names if file.is_file()), None)


def _case(item: dict[str, Any], folder: Path, split: str, number: int) -> Case:
    image = _image(folder, split, path_text(item, "image"))
    answer = optional(item, "answer")
    return Case(
        case_id=f"{SOURCE}-{split}-{number}",
        image=image,
        image_sha256="",
        question=required(item, "question"),
        reference=answer,
        answer_type=infer_answer_type(answer),
        source=SOURCE,
        licence=LICENCE,
    )


def _image(folder: Path, split: str, name: str) -> str:
    """The path of the image, or its usual path if there is no such file."""
    name = name if Path(name).suffix else f"{name}.jpg"
    places = [folder / place.format(split, name) for place in IMAGES]
    return str(next((file for file in places if file.is_file()), places[0]))


class _Plain(pickle.Unpickler):
    """Loads lists, mappings, texts and numbers; anything else could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError("names a class")


def _items(file: Path) -> Iterator[tuple[str, Any]]:
    if file.suffix != ".pkl":
        yield from rows_of(file)
        return
    try:
        with open_file(file) as stream:
            questions = _Plain(stream).load()
    except Exception:  # damaged pickles raise almost anything
        raise DataError(
            str(file), "is not a pickle of plain values", "give the file as distributed"
        ) from None
    if not isinstance(questions, list):
        raise DataError(str(file), "is not a list of questions", "give the file as distributed")
    for number, item in enumerate(questions):
        yield f"{file}: item {number}", item
