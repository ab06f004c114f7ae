"""DICOM folders: cases with numbers for names, patients of the header for splitting alone."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from medray.config import DataConfig
from medray.data.dataset import open_dataset
from medray.data.dicom_folder import read_dicom_folder
from medray.data.exchange import import_data
from medray.errors import DataError


def dicom(path: Path, value: int, patient: str = "", study: str = "") -> Path:
    """A file of 4 × 4 px with a header that names a patient."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.{value}"
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.Rows = made.Columns = 4
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.PixelData = np.full((4, 4), value, np.uint8).tobytes()
    made.PatientName, made.PatientID, made.StudyInstanceUID = "Jones^Mary", patient, study
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def test_a_folder_without_questions(tmp_path):
    dicom(tmp_path / "Jones Mary" / "1.dcm", 1, "p-1", "1.2.3")
    dicom(tmp_path / "Jones Mary" / "no-ending", 2, "p-1", "1.2.4")
    dicom(tmp_path / "Smith" / "2.dcm", 3)
    (tmp_path / "notes.txt").write_text("not an image")
    rows = list(read_dicom_folder(str(tmp_path)))
    assert [row.case.case_id for row in rows] == ["dicom-000001", "dicom-000002", "dicom-000003"]
    assert [(row.case.patient_id, row.study_id) for row in rows] == [
        ("p-1", "1.2.3"), ("p-1", "1.2.4"), ("", ""),
    ]  # fmt: skip
    assert {(row.case.answer_type, row.case.reference) for row in rows} == {("report", "")}
    assert "p-1" not in repr([row.case for row in rows])


def test_one_file(tmp_path):
    (row,) = read_dicom_folder(str(dicom(tmp_path / "a.dcm", 1, "p-1")))
    assert row.case.image == str(tmp_path / "a.dcm")
    assert row.case.image_sha256


def test_questions_beside_the_files_and_a_split_by_patient(tmp_path):
    lines = []
    for number, patient in enumerate(["a", "a", "b", "c"]):
        dicom(tmp_path / f"{number}.dcm", number, patient)
        lines.append({"image": f"{number}.dcm", "question": "Clear?", "answer": "yes"})
    lines[3]["patient_id"] = "a"  # what a row says goes before the header
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = DataConfig(kind="dicom", path=str(tmp_path), split="patient", heldout=0.5)
    data = open_dataset(config, seed=0)
    sides = {frozenset(case.patient_id for case in side) for side in (data.train, data.heldout)}
    assert sides == {frozenset("a"), frozenset("b")}
    assert sorted((len(data.train), len(data.heldout))) == [1, 3]


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")  # of writing the bad file
def test_nothing_of_a_header_reaches_the_file_or_a_log(tmp_path, caplog, capsys):
    dicom(tmp_path / "d" / "a.dcm", 1, "p-secret", "1.2.99999")
    cut = dicom(tmp_path / "d" / "b.dcm", 2, "p-secret", "not a uid")
    cut.write_bytes(cut.read_bytes()[:-200])
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        assert import_data("dicom", str(tmp_path / "d"), tmp_path / "c.parquet") == "2 cases"
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "c.parquet")
    told = caplog.text + "".join(capsys.readouterr()) + json.dumps(table.to_pylist())
    told = told.replace(str(tmp_path), "")
    assert not [word for word in ("Jones", "p-secret", "99999", "not a uid") if word in told]
    assert pydicom.dcmread(tmp_path / "d" / "a.dcm").PatientName == "Jones^Mary"


def test_folders_without_dicom(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="holds no DICOM file"):
        list(read_dicom_folder(str(tmp_path)))
