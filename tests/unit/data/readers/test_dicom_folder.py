"""DICOM folders: cases named by numbers, patients from the header for splitting only."""

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
from medray.data.check import check_file
from medray.data.dataset import open_dataset, read_rows
from medray.data.exchange import import_data
from medray.data.splits import leaks
from medray.data.tables import read_cases
from medray.errors import DataError
from medray.imaging.corrupt_files.corrupt_file import corrupt_file
from medray.imaging.load import file_sha256, load_image


def read_dicom_folder(path):
    return list(read_rows("dicom", path))


def dicom(path: Path, value: int, patient: str = "", study: str = "", frames: int = 1) -> Path:
    """A file of 4 × 4 px with a header that names a patient; every frame is brighter by 10."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.{value}"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows = dataset.Columns = 4
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    values = value + 10 * np.arange(frames, dtype=np.uint8)
    dataset.PixelData = np.repeat(values, 16).tobytes()
    dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID = "Jones^Mary", patient, study
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_a_folder_without_questions(tmp_path):
    dicom(tmp_path / "Jones Mary" / "1.dcm", 1, "p-1", "1.2.3")
    dicom(tmp_path / "Jones Mary" / "no-ending", 2, "p-1", "1.2.4")
    dicom(tmp_path / "Smith" / "2.dcm", 3)
    (tmp_path / "notes.txt").write_text("not an image")
    rows = list(read_dicom_folder(str(tmp_path)))
    assert [row.case.case_id for row in rows] == ["dicom-000001", "dicom-000002", "dicom-000003"]
    assert [(row.case.patient_id, row.study_id) for row in rows] == [
        ("p-1", "1.2.3"),
        ("p-1", "1.2.4"),
        ("", ""),
    ]
    assert {(row.case.answer_type, row.case.reference) for row in rows} == {("report", "")}
    assert "p-1" not in repr([row.case for row in rows])


def test_one_file(tmp_path):
    (row,) = read_dicom_folder(str(dicom(tmp_path / "a.dcm", 1, "p-1")))
    assert row.case.image == str(tmp_path / "a.dcm")
    assert row.case.image_sha256


def test_every_frame_is_a_case(tmp_path):
    dicom(tmp_path / "a.dcm", 1, "p-1", "1.2.3")
    dicom(tmp_path / "b.dcm", 50, "p-2", "1.2.4", frames=3)
    rows = list(read_dicom_folder(str(tmp_path)))
    assert [row.case.case_id for row in rows] == [
        "dicom-000001",
        "dicom-000002-1",
        "dicom-000002-2",
        "dicom-000002-3",
    ]
    assert [row.case.image for row in rows[1:]] == [f"{tmp_path}/b.dcm#{i}" for i in (1, 2, 3)]
    assert [load_image(row.case.image)[0, 0, 0] for row in rows] == [1, 50, 60, 70]
    assert len({row.case.image_sha256 for row in rows}) == 4
    assert {(row.case.patient_id, row.study_id) for row in rows[1:]} == {("p-2", "1.2.4")}


def test_frames_survive_the_import(tmp_path):
    dicom(tmp_path / "d" / "b.dcm", 50, "p-2", "1.2.4", frames=3)
    out = tmp_path / "c.parquet"
    assert import_data("dicom", str(tmp_path / "d"), out) == "3 cases"
    cases = [row.case for row in read_cases(str(out))]
    assert [load_image(case.image)[0, 0, 0] for case in cases] == [50, 60, 70]
    assert [file_sha256(case.image) for case in cases] == [case.image_sha256 for case in cases]
    assert check_file(out).findings["images that cannot be read"].count == 0


@pytest.mark.parametrize("by", ["image", "patient", "study"])
def test_a_split_keeps_frames_together(tmp_path, by):
    for number in range(4):
        dicom(tmp_path / f"{number}.dcm", number, f"p-{number}", f"1.{number}", frames=5)
    data = open_dataset(DataConfig(kind="dicom", path=str(tmp_path), split=by, heldout=0.5))
    assert (len(data.train), len(data.heldout)) == (10, 10)
    sides = [{case.image.split("#")[0] for case in side} for side in (data.train, data.heldout)]
    assert not sides[0] & sides[1]
    assert not leaks(data.train, data.heldout)


def test_frames_of_one_file_on_both_sides_are_a_leak(tmp_path):
    dicom(tmp_path / "a.dcm", 1, frames=2)
    dicom(tmp_path / "b.dcm", 9)
    lines = [
        {"image": "a.dcm#1", "question": "Clear?", "answer": "yes", "split": "train"},
        {"image": "a.dcm#2", "question": "Clear?", "answer": "yes", "split": "test"},
        {"image": "b.dcm", "question": "Clear?", "answer": "yes", "split": "test"},
    ]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for kind in ("jsonl", "dicom"):
        data = open_dataset(DataConfig(kind=kind, path=str(tmp_path)))
        assert [load_image(case.image)[0, 0, 0] for case in data.train] == [1]
        assert any("leak: 1 of 2 held-out images" in note for note in data.notes)


@pytest.mark.parametrize("frames", ["999999999", "-3", "many"])
@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning", "ignore:.*IS:UserWarning")
def test_an_impossible_number_of_frames(tmp_path, frames):
    path = dicom(tmp_path / "a.dcm", 1, frames=11)
    content = path.read_bytes()
    field = b"\x28\x00\x08\x00IS\x02\x0011"
    assert field in content
    value = frames.encode() + b" " * (len(frames) % 2)
    changed = field[:6] + len(value).to_bytes(2, "little") + value
    path.write_bytes(content.replace(field, changed))
    (row,) = read_dicom_folder(str(tmp_path))
    assert row.case.image == str(path)


def test_the_corrupted_image_of_a_frame(tmp_path):
    path = dicom(tmp_path / "a.dcm", 50, frames=3)
    result = corrupt_file(Path(f"{path}#3"), tmp_path / "o.png", kind="black", box=(0, 0, 1, 1))
    assert (result.image[0, 0, 0], result.image[1, 1, 0]) == (0, 70)
    with pytest.raises(DataError, match="no such frame"):
        corrupt_file(Path(f"{path}#4"), tmp_path / "o.png")


def test_questions_beside_the_files_and_a_split_by_patient(tmp_path):
    lines = []
    for number, patient in enumerate(["a", "a", "b", "c"]):
        dicom(tmp_path / f"{number}.dcm", number, patient)
        lines.append({"image": f"{number}.dcm", "question": "Clear?", "answer": "yes"})
    lines[3]["patient_id"] = "a"  # a row takes precedence over the header
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = DataConfig(kind="dicom", path=str(tmp_path), split="patient", heldout=0.5)
    data = open_dataset(config)
    sides = {frozenset(case.patient_id for case in side) for side in (data.train, data.heldout)}
    assert sides == {frozenset("a"), frozenset("b")}
    assert sorted((len(data.train), len(data.heldout))) == [1, 3]


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")  # from writing the bad file
def test_no_header_value_reaches_the_file_or_a_log(tmp_path, caplog, capsys):
    dicom(tmp_path / "d" / "a.dcm", 1, "p-secret", "1.2.99999")
    dicom(tmp_path / "d" / "c.dcm", 1, "p-secret", "1.2.99999", frames=2)
    cut = dicom(tmp_path / "d" / "b.dcm", 2, "p-secret", "not a uid")
    cut.write_bytes(cut.read_bytes()[:-200])
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        assert import_data("dicom", str(tmp_path / "d"), tmp_path / "c.parquet") == "4 cases"
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "c.parquet")
    output = caplog.text + "".join(capsys.readouterr()) + json.dumps(table.to_pylist())
    output = output.replace(str(tmp_path), "")
    assert not [word for word in ("Jones", "p-secret", "99999", "not a uid") if word in output]
    assert pydicom.dcmread(tmp_path / "d" / "a.dcm").PatientName == "Jones^Mary"


def test_folders_without_dicom(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="holds no DICOM file"):
        list(read_dicom_folder(str(tmp_path)))
