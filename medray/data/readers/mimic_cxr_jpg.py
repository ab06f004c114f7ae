"""MIMIC-CXR-JPG as PhysioNet distributes it: images by patient and study, and tables.

    files/p10/p10000032/s50414267/….jpg    mimic-cxr-2.0.0-split.csv.gz (also -metadata,
                                           -chexpert, -negbio)

Only frontal images are read (according to the metadata). If the reports of MIMIC-CXR are present,
as files/p10/p10000032/s50414267.txt or in mimic-cxr-reports.zip, the findings section is the
reference, and studies without one are left out. Otherwise every certain label becomes a closed
question. Labels are never stored in `Case.truth`: that is for phantoms, whose truth is complete.
"""

from __future__ import annotations

import functools
import itertools
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from medray.data.readers.r2gen import MIMIC_LICENCE, REPORT_QUESTION
from medray.data.rows import FieldError, existing_folder, locate_errors, required, words
from medray.data.sources import csv_rows
from medray.data.splits import Row
from medray.errors import DataError
from medray.files import open_file
from medray.records import Case

SPLITS = {"train": "train", "validate": "validation", "test": "heldout"}
FRONTAL = ("AP", "PA")
ANSWERS = {"1.0": "yes", "0.0": "no", "1": "yes", "0": "no"}  # −1: uncertain; blank: not stated
SOURCE = "mimic-cxr-jpg"
HEADING = re.compile(r"^[ \t]*([A-Z][A-Z ,/()&-]*[A-Z)]):", re.MULTILINE)
REPORT_FOLDERS = ("", "mimic-cxr-reports", "reports")
REPORT_ZIP = "mimic-cxr-reports.zip"
LONGEST_REPORT = 2**20  # bytes; of a longer one the rest is not read

Report = Callable[[str, str], str | None]  # (subject, study) → text, None if missing


@dataclass(frozen=True, slots=True)
class Image:
    """A row of the split table."""

    dicom: str
    subject: str
    study: str
    split: str

    @property
    def study_path(self) -> str:
        return f"files/p{self.subject[:2]}/p{self.subject}/s{self.study}"


def read_mimic_cxr_jpg(path: str | None) -> Iterator[Row]:
    """The frontal images in the order of the split table."""
    folder = existing_folder(path, SOURCE)
    splits = _table(folder, "split")
    if splits is None:
        name = "mimic-cxr-2.0.0-split.csv.gz"
        raise DataError(
            str(folder), f"not MIMIC-CXR-JPG: no {name!r} in it", "give the folder that holds it"
        )
    frontal, report = _frontal(folder), _reports(folder, splits)
    labels = {} if report else _labels(folder)
    if report is None and not labels:
        raise DataError(
            str(folder), "has neither reports nor labels", f"put {REPORT_ZIP} of MIMIC-CXR there"
        )
    for where, row in csv_rows(splits, ("dicom_id", "study_id", "subject_id", "split")):
        with locate_errors(where):
            image = Image(
                *(required(row, k) for k in ("dicom_id", "subject_id", "study_id", "split"))
            )
            if image.split not in SPLITS:
                raise FieldError("split", f"{image.split!r} is not one of {', '.join(SPLITS)}")
        if frontal is None or image.dicom in frontal:
            for name, question, answer in _exchanges(image, report, labels):
                file = str(folder / image.study_path / f"{image.dicom}.jpg")
                case = Case(
                    case_id=f"mimic-cxr-{image.dicom}{name}",
                    image=file,
                    image_sha256="",
                    question=question,
                    reference=answer,
                    answer_type="closed" if name else "report",
                    patient_id=image.subject,
                    source=SOURCE,
                    licence=MIMIC_LICENCE,
                )
                yield Row(case, split=SPLITS[image.split], study_id=image.study)


def _exchanges(
    image: Image, report: Report | None, labels: dict[str, tuple[tuple[str, str], ...]]
) -> Iterator[tuple[str, str, str]]:
    """(suffix of the case id, question, answer): the report, or one question per label."""
    if report is not None:
        text = report(image.subject, image.study)
        if text and (section := findings(text)):
            yield "", REPORT_QUESTION, section
        return
    for label, answer in labels.get(image.study, ()):
        slug = label.lower().replace(" ", "-")
        yield f"-{slug}", _question(label), answer


def _question(label: str) -> str:
    if label == "No Finding":
        return "Is this chest X-ray normal?"
    if label == "Support Devices":
        return "Are there support devices?"
    article = "a " if label in ("Fracture", "Lung Lesion", "Pneumothorax") else ""
    return f"Is there {article}{label.lower()}?"


def findings(report: str) -> str:
    """The findings section of a report, "" if it has none.

    >>> findings(" FINDINGS:  The lungs\\n are clear.\\n\\n IMPRESSION: Normal.")
    'The lungs are clear.'
    """
    headings = list(HEADING.finditer(report))
    for heading, following in zip(headings, [*headings, None][1:], strict=True):
        if heading[1].startswith("FINDING"):
            return words(report[heading.end() : following.start() if following else None])
    return ""


def _table(folder: Path, name: str) -> Path | None:
    found = sorted(folder.glob(f"mimic-cxr-2.*-{name}.csv*"))
    return found[-1] if found else None


def _frontal(folder: Path) -> set[str] | None:
    """The ids of frontal images; None without the metadata table."""
    file = _table(folder, "metadata")
    if file is None:
        return None
    rows = csv_rows(file, ("dicom_id", "ViewPosition"))
    return {row["dicom_id"] for _, row in rows if row["ViewPosition"] in FRONTAL}


def _labels(folder: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """study → its (label, yes or no) pairs, from CheXpert or else NegBio."""
    file = _table(folder, "chexpert") or _table(folder, "negbio")
    if file is None:
        return {}
    shared: dict[tuple[str, str], tuple[str, str]] = {}
    labels: dict[str, tuple[tuple[str, str], ...]] = {}
    for _, row in csv_rows(file, ("subject_id", "study_id")):
        pairs = [(k, ANSWERS[v]) for k, v in row.items() if k[0].isupper() and v in ANSWERS]
        labels[row["study_id"]] = tuple(shared.setdefault(pair, pair) for pair in pairs)
    return labels


def _reports(folder: Path, splits: Path) -> Report | None:
    """A function that reads reports from a folder or the archive; None if there are none.

    Every study has a report, so checking the first studies of the table is enough to find the
    folder.
    """
    rows = csv_rows(splits, ("study_id", "subject_id"))
    sample = [(row["subject_id"], row["study_id"]) for _, row in itertools.islice(rows, 100)]
    for name in REPORT_FOLDERS:
        root = folder / name
        if any((root / _report_name(*study)).is_file() for study in sample):
            return functools.partial(_from_folder, root)
    archive = folder / REPORT_ZIP
    if not archive.is_file():
        return None
    try:
        return functools.partial(_from_archive, zipfile.ZipFile(archive))
    except (OSError, zipfile.BadZipFile):
        raise DataError(str(archive), "is not a readable archive", "download it again") from None


def _report_name(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}.txt"


def _from_folder(root: Path, subject: str, study: str) -> str | None:
    try:
        with open_file(root / _report_name(subject, study)) as file:
            return file.read(LONGEST_REPORT).decode("utf-8", errors="replace")
    except OSError:
        return None


def _from_archive(archive: zipfile.ZipFile, subject: str, study: str) -> str | None:
    try:
        with archive.open(_report_name(subject, study)) as file:
            member = file.read(LONGEST_REPORT)
    except (KeyError, zipfile.BadZipFile, zlib.error):
        return None
    return member.decode("utf-8", errors="replace")
