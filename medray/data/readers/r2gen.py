"""IU X-Ray and MIMIC-CXR as R2Gen distributes them: annotation.json and a folder of images.

    {"train": [{"id", "report", "image_path": ["CXR1_1_IM-0001/0.png", …]}], "val", "test"}

Each study gives one case: its report and its images, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from medray.data.rows import (
    FieldError,
    existing_file,
    existing_folder,
    locate_errors,
    mapping,
    optional,
    path_text,
    required,
)
from medray.data.sources import json_items
from medray.data.splits import Row
from medray.errors import DataError
from medray.records import Case, ImageFile

SPLITS = {"train": "train", "val": "validation", "test": "heldout"}
REPORT_QUESTION = "Describe the findings of this chest X-ray."
MIMIC_LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"


def read_iu_xray(path: str | None) -> Iterator[Row]:
    """All studies, split by split. The dataset has one study per patient."""
    for split, item, where, case in _studies(path, "iu-xray", ""):
        with locate_errors(where):
            study = required(item, "id").split("_")[0]
        yield _row(case, split, patient=study, study=study)


def read_mimic_cxr(path: str | None) -> Iterator[Row]:
    """All studies, split by split."""
    for split, item, where, case in _studies(path, "mimic-cxr", MIMIC_LICENCE):
        with locate_errors(where):
            patient, study = required(item, "subject_id"), required(item, "study_id")
        yield _row(case, split, patient=patient, study=study)


def _studies(
    path: str | None, kind: str, licence: str
) -> Iterator[tuple[str, dict[str, Any], str, Case]]:
    folder = existing_folder(path, kind)
    file = existing_file(folder, ("annotation.json",), f"{kind} in the layout of R2Gen")
    images = folder / "images" if (folder / "images").is_dir() else folder
    seen: set[str] = set()
    for split, where, value in json_items(file):
        if split not in SPLITS:
            raise DataError(
                f"{where}: {split!r}", "is not train, val or test", "give the file as distributed"
            )
        item = mapping(value, where)
        with locate_errors(where):
            case_id = f"{kind}-{required(item, 'id')}"
            if case_id in seen:
                raise FieldError("id", "occurs twice")
            seen.add(case_id)
            first, *others = (str(images / name) for name in _names(item.get("image_path")))
            case = Case(
                case_id=case_id,
                image=first,
                image_sha256="",
                question=REPORT_QUESTION,
                reference=optional(item, "report"),
                answer_type="report",
                source=kind,
                licence=licence,
                other_images=tuple(map(ImageFile, others)),
            )
        yield split, item, where, case


def _names(value: Any) -> list[str]:
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not paths or not all(isinstance(p, str) for p in paths):
        raise FieldError("image_path", "is not a list of paths")
    return [path_text({"image_path": path}, "image_path") for path in paths]


def _row(case: Case, split: str, *, patient: str, study: str) -> Row:
    return Row(replace(case, patient_id=patient), split=SPLITS[split], study_id=study)
