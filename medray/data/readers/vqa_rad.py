"""VQA-RAD in its own layout: one JSON list and a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medray.data.rows import existing_folder, is_scalar, parse_json, read_text, words
from medray.data.splits import Row
from medray.errors import DataError
from medray.records import AnswerType, Case

JSON_NAME = "VQA_RAD Dataset Public.json"
IMAGE_FOLDER = "VQA_RAD Image Folder"
KEYS = ("qid", "phrase_type", "image_name", "question", "answer", "answer_type")
TEST_PHRASES = ("test_freeform", "test_para")
ANSWER_TYPES: dict[str, AnswerType] = {"CLOSED": "closed", "OPEN": "open"}


def read_vqa_rad(path: str | None) -> list[Row]:
    """All question-answer pairs, in the file's order, with the official split.

    The MedPix case of an image serves as patient and study. Raises DataError if the folder is
    not VQA-RAD.
    """
    folder = existing_folder(path, "vqa-rad")
    for name in (JSON_NAME, IMAGE_FOLDER):
        if not (folder / name).exists():
            raise DataError(
                str(folder), f"not VQA-RAD: no {name!r} in it", "give the folder that holds it"
            )
    source = folder / JSON_NAME
    items = parse_json(read_text(source), str(source))
    if not isinstance(items, list):
        raise DataError(str(source), "is not a list of questions", "give the file as distributed")
    rows = []
    seen: set[str] = set()
    for number, item in enumerate(items):
        _check(item, f"{source}: item {number}", seen)
        rows.append(_row(item, folder))
    return rows


def _check(item: Any, where: str, seen: set[str]) -> None:
    """Raise DataError unless the item has all keys in `KEYS`, with usable values."""
    todo = "give the file as distributed"
    if not isinstance(item, dict):
        raise DataError(where, "is not a mapping", todo)
    for key in KEYS:
        if key not in item:
            raise DataError(where, f"has no key {key!r}", todo)
        if not is_scalar(item[key]):
            raise DataError(f"{where}: {key}", "is not a text or number", todo)
    for key in ("qid", "image_name", "question"):
        if not words(item[key]):
            raise DataError(f"{where}: {key}", "is empty", todo)
    answer_type = words(item["answer_type"]).upper()
    if answer_type not in ANSWER_TYPES:
        raise DataError(f"{where}: answer_type = {answer_type!r}", "not CLOSED or OPEN", todo)
    qid = words(item["qid"])
    if qid in seen:
        raise DataError(f"{where}: qid = {qid}", "occurs twice", todo)
    seen.add(qid)


def _row(item: dict[str, Any], folder: Path) -> Row:
    image = str(folder / IMAGE_FOLDER / words(item["image_name"]))
    medpix = words(item.get("image_case_url"))
    case = Case(
        case_id=f"vqa-rad-{words(item['qid'])}",
        image=image,
        image_sha256="",
        question=words(item["question"]),
        reference=words(item["answer"]),
        answer_type=ANSWER_TYPES[words(item["answer_type"]).upper()],
        patient_id=medpix,
        source="vqa-rad",
        licence="CC0-1.0",
    )
    heldout = words(item["phrase_type"]) in TEST_PHRASES
    return Row(case, split="heldout" if heldout else "train", study_id=medpix)
