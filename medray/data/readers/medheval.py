"""MedHEval's closed questions about what is seen: JSON lists as distributed, with their images.

    rad_vqa_pairs.json, slake_qa_pairs.json, …    or one such file
    images/                                       or the images beside the lists

{"qid", "img_name", "question", "answer", "question_type", "choices": "A: …, B: …"}; a row without
choices is a yes/no question. All rows are for evaluation: none names a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.data.readers.options import option_reference, with_options
from medray.data.rows import (
    FieldError,
    existing_folder,
    infer_answer_type,
    locate_errors,
    mapping,
    optional,
    path_text,
    required,
)
from medray.data.sources import json_items
from medray.data.splits import Row
from medray.errors import DataError
from medray.records import AnswerType, Case

_CHOICE = re.compile(r"(?:^|[,;]\s*|\n\s*)\(?([A-H])\)?\s*[:.]\s*")


def read_medheval(path: str | None) -> Iterator[Row]:
    """The rows of a list, or of all lists of a folder, sorted by name."""
    given = existing_folder(path, "medheval")
    files = [given] if given.is_file() else sorted(given.glob("*pairs*.json"))
    if not files:
        why = "not MedHEval: no '…_pairs.json' in it"
        raise DataError(str(given), why, "give the folder that holds the lists")
    for place, file in enumerate(files, start=1):  # its name says nothing that may be written
        beside = file.parent / "images"
        images = beside if beside.is_dir() else file.parent
        for number, (_, where, value) in enumerate(json_items(file)):
            with locate_errors(where):
                case_id = f"medheval-{place}-{number}"
                yield Row(_case(mapping(value, where), case_id, images))


def _case(item: dict[str, Any], case_id: str, images: Path) -> Case:
    image = str(images / path_text(item, "img_name"))
    question, reference = required(item, "question"), required(item, "answer")
    answer_type: AnswerType = infer_answer_type(reference)  # some are neither yes nor no
    if choices := _choices(optional(item, "choices")):
        question = with_options(question, choices)
        reference, answer_type = option_reference(reference, choices), "choice"
    return Case(
        case_id=case_id,
        image=image,
        image_sha256="",
        question=question,
        reference=reference,
        answer_type=answer_type,
        source="medheval",
    )


def _choices(text: str) -> tuple[str, ...]:
    """The texts of "A: axial, B: coronal"; () if there are none. Raises FieldError."""
    if not text:
        return ()
    letters = _CHOICE.findall(text)
    texts = tuple(part.strip() for part in _CHOICE.split(text)[2::2])
    expected = [chr(ord("A") + i) for i in range(len(letters))]
    if letters != expected or len(texts) < 2 or not all(texts):
        raise FieldError("choices", "is not of the form 'A: …, B: …'")
    return texts
