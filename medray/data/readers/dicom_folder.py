"""DICOM: one file, or a folder of them, with or without questions in a records.jsonl.

With a records.jsonl, the rows are those of `medray.data.readers.jsonl`. Without one, every DICOM
file in the folder and its subfolders gives a case that asks for a report and has no reference:
it can be viewed and answered, but not trained on. A multi-frame file gives one case per frame,
"dicom-000007-3" for "….dcm#3"; a split keeps them together.

If a row names no patient or study, they are read from the header, for splitting. Nothing else
of the header is read here, and case ids are numbers, because folders of DICOM files are often
named after patients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medray.data.readers.jsonl import FILE_NAME, stream_jsonl
from medray.data.rows import existing_folder
from medray.data.splits import Row
from medray.errors import DataError
from medray.files import open_file
from medray.imaging.dicom import frame_count, looks_like_dicom, quiet, read_header
from medray.imaging.load import HEAD_BYTES
from medray.imaging.reference import frame_reference, parse_reference
from medray.records import Case

QUESTION = "Describe the findings of this image."
SOURCE = "dicom"


def read_dicom_folder(path: str | None) -> Iterator[Row]:
    """The rows of records.jsonl, or else a case per frame of every DICOM file, sorted by path."""
    given = existing_folder(path, SOURCE)
    if given.suffix == ".jsonl" or (given / FILE_NAME).is_file():
        for row in stream_jsonl(str(given)):
            yield _with_header(row)
        return
    files = [given] if given.is_file() else sorted(f for f in given.rglob("*") if f.is_file())
    number = 0
    for file in files:
        if _is_dicom(file):
            number += 1
            yield from _frames(file, f"{SOURCE}-{number:06d}")
    if not number:
        raise DataError(str(given), "holds no DICOM file", "give a DICOM file or a folder of them")


def _frames(file: Path, case_id: str) -> Iterator[Row]:
    """One row per frame; a single row if the file cannot be read."""
    patient, study, frames = _header(file)
    for frame in range(1, frames + 1):
        image = str(file) if frames == 1 else frame_reference(file, frame)
        case = Case(
            case_id=case_id if frames == 1 else f"{case_id}-{frame}",
            image=image,
            image_sha256="",
            question=QUESTION,
            reference="",
            answer_type="report",
            patient_id=patient,
            source=SOURCE,
        )
        yield Row(case, study_id=study)


def _is_dicom(file: Path) -> bool:
    try:
        with open_file(file) as stream:
            return looks_like_dicom(file, stream.read(HEAD_BYTES))
    except (OSError, ValueError):
        return False


def _with_header(row: Row) -> Row:
    if row.case.patient_id and row.study_id:
        return row
    patient, study, _ = _header(Path(parse_reference(row.case.image).file))
    case = replace(row.case, patient_id=row.case.patient_id or patient)
    return replace(row, case=case, study_id=row.study_id or study)


def _header(file: Path) -> tuple[str, str, int]:
    """(patient, study, frames) of the header; "" and 1 if it does not state them.

    A file that states more frames than it has bytes is damaged, and counts as one frame.
    """
    tags = ["PatientID", "StudyInstanceUID", "NumberOfFrames"]
    if not _is_dicom(file):
        return "", "", 1
    try:
        with quiet(), open_file(file) as stream:
            header = read_header(stream, tags=tags).dataset
            frames = frame_count(header)
            if frames > file.stat().st_size:
                frames = 1
            return str(header.get(tags[0]) or ""), str(header.get(tags[1]) or ""), frames
    except Exception:  # the case is dropped, with a reason, when its image is read
        return "", "", 1
