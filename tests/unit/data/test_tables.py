"""Parquet: lossless, without anything that identifies a patient, complete or absent."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from medray.config import DataConfig
from medray.data import tables
from medray.data.dataset import READERS, open_dataset, read_rows
from medray.data.exchange import CASES, import_data, import_pairs
from medray.data.pairs.base import PreferencePair
from medray.data.splits import Row
from medray.data.tables import kind_of, read_cases, read_pairs, write_cases, write_pairs
from medray.errors import DataError
from medray.records import Case, Region
from tests.support.datasets.miniatures import fire_row, mimic_cxr, slake, write_json

CASE = Case(
    "a",
    "/x/a.png",
    "00",
    "Q?",
    "yes",
    "closed",
    regions=(Region("nodule", box=(-1, 2, 3, 4)), Region("mass", mask="/x/m.png", source="drawn")),
    truth=(("side", "left"), ("kind", "nodule")),
    source="s",
    licence="CC0-1.0",
)


def test_cases_survive_a_round_trip(tmp_path):
    rows = [
        Row(replace(CASE, patient_id="Smith"), split="train", study_id="s-9"),
        Row(replace(CASE, case_id="b", patient_id="Jones", regions=(), truth=()), split="heldout"),
        Row(replace(CASE, case_id="c", patient_id="Smith", image_sha256="", reference="")),
    ]
    assert write_cases(tmp_path / "c.parquet", rows) == 3
    assert kind_of(tmp_path / "c.parquet") == "cases"
    back = list(read_cases(str(tmp_path / "c.parquet")))
    assert [row.case.patient_id for row in back] == ["0", "1", "0"]
    assert [row.study_id for row in back] == ["0", "", ""]
    assert [row.split for row in back] == ["train", "heldout", ""]
    assert [replace(row.case, patient_id="") for row in back] == [
        replace(row.case, patient_id="") for row in rows
    ]


def test_pairs_survive_a_round_trip(tmp_path):
    pairs = [
        PreferencePair(
            "1",
            "/a.png",
            "00",
            "Q?",
            "a",
            "b",
            "/b.png",
            ((0, 1),),
            (),
            0.5,
            True,
            "train",
            "s",
            "CC0-1.0",
        ),
        PreferencePair("2", "/a.png", "", "Q?", "", ""),
    ]
    assert write_pairs(tmp_path / "p.parquet", pairs) == 2
    assert list(read_pairs(tmp_path / "p.parquet")) == pairs


def test_a_dataset_and_its_parquet_file_give_the_same_cases(tmp_path):
    folder = str(slake(tmp_path / "slake"))
    import_data("slake", folder, tmp_path / "c.parquet")
    for split in ("official", "image"):
        first, second = (
            open_dataset(DataConfig(kind=kind, path=path, split=split, seed=3))
            for kind, path in (("slake", folder), ("parquet", str(tmp_path / "c.parquet")))
        )
        assert (first.train, first.heldout, first.notes) == (
            second.train,
            second.heldout,
            second.notes,
        )


@pytest.mark.data
def test_all_of_vqa_rad_and_its_leak(shared_data, tmp_path):
    source = str(shared_data / "vqa_rad")
    assert import_data("vqa-rad", source, tmp_path / "c.parquet") == "2248 cases"
    config = DataConfig(kind="parquet", path=str(tmp_path / "c.parquet"), split="official")
    notes = " ".join(open_dataset(config).notes)
    assert "leak: 202 of 203 held-out images are also in training" in notes


@pytest.mark.data
def test_no_header_of_a_dicom_file_reaches_the_parquet_file(shared_data, tmp_path):
    import pydicom

    folder, out = shared_data / "dicom", tmp_path / "c.parquet"
    assert import_data("dicom", str(folder), out) == "16 cases"  # one file has ten frames
    written = json.dumps(pq.read_table(out).to_pylist()).replace(str(folder), "")
    written += str(pq.read_schema(out))
    tags = [
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "StudyDate",
        "StudyInstanceUID",
        "SeriesDate",
        "InstitutionName",
        "ReferringPhysicianName",
        "AccessionNumber",
        "StudyTime",
    ]
    checked = 0
    for file in sorted(folder.glob("*.dcm")):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        for value in filter(None, (str(header.get(tag) or "") for tag in tags)):
            checked += 1
            assert value not in written, value
    assert checked > 30
    rows = list(read_rows("dicom", str(folder)))
    assert sum(bool(row.case.patient_id) for row in rows) == 6
    assert all(row.study_id for row in rows)


@pytest.mark.data
@pytest.mark.parametrize(("name", "count"), [("lesions", 78), ("nih_cxr", 78)])
def test_datasets_in_the_jsonl_layout(shared_data, tmp_path, name, count):
    out = tmp_path / "c.parquet"
    assert import_data("jsonl", str(shared_data / name), out) == f"{count} cases"
    assert sum(1 for _ in read_cases(str(out))) == count


def test_patients_of_a_credentialed_dataset_are_numbers(tmp_path):
    import_data("mimic-cxr", str(mimic_cxr(tmp_path / "m")), tmp_path / "c.parquet")
    table = pq.read_table(tmp_path / "c.parquet")
    assert table["patient"].to_pylist() == [0, 0, 1]
    assert table["study"].to_pylist() == [0, 1, 2]
    others = table.drop_columns(["image", "patient", "study"])
    assert "1000000" not in json.dumps(others.to_pylist())


# --- writing ------------------------------------------------------------------------------


def test_row_groups_and_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "GROUP", 500)
    text = "x" * 2000
    rows = (
        PreferencePair(str(i), "/a.png", "00", f"{i}?", f"{i}{text}", text) for i in range(20_000)
    )
    tracemalloc.start()
    try:
        assert write_pairs(tmp_path / "p.parquet", rows) == 20_000
        assert sum(1 for _ in read_pairs(tmp_path / "p.parquet")) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # 80 MB of text
    finally:
        tracemalloc.stop()
    assert pq.ParquetFile(tmp_path / "p.parquet").num_row_groups == 40


def test_a_file_is_complete_or_absent(tmp_path):
    rows = [fire_row(id=str(i)) for i in range(3)] + [fire_row(prompt=None)]
    write_json(tmp_path / "p.json", rows)
    out = tmp_path / "p.parquet"
    with pytest.raises(DataError, match="prompt"):
        import_data("fire-mpo", str(tmp_path / "p.json"), out)
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]
    out.write_bytes(b"what was there")
    with pytest.raises(DataError):
        import_data("fire-mpo", str(tmp_path / "p.json"), out)
    assert out.read_bytes() == b"what was there"
    write_json(tmp_path / "p.json", [])
    with pytest.raises(DataError, match="nothing to write"):
        import_data("fire-mpo", str(tmp_path / "p.json"), out)


@pytest.mark.parametrize(
    "case",
    [replace(CASE, question="\ud800"), replace(CASE, regions=(Region("", (0, 0, 1, 2**40)),))],
)
def test_values_that_do_not_fit_name_their_row(tmp_path, case):
    with pytest.raises(DataError, match="row 'bad'"):
        write_cases(tmp_path / "c.parquet", [Row(CASE), Row(replace(case, case_id="bad"))])
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path):
    write_pairs(tmp_path / "p.parquet", [PreferencePair("1", "/a.png", "", "Q?", "a", "b")])
    with pytest.raises(DataError, match="does not hold cases"):
        list(read_cases(str(tmp_path / "p.parquet")))
    plain = pq.read_table(tmp_path / "p.parquet").replace_schema_metadata(None)
    pq.write_table(plain, tmp_path / "other.parquet")
    with pytest.raises(DataError, match="was not written by this version of medray"):
        list(read_pairs(tmp_path / "other.parquet"))
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(DataError, match="is not a readable Parquet file"):
        kind_of(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="no such file"):
        kind_of(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="is a folder"):
        write_pairs(tmp_path, [])
    with pytest.raises(DataError, match="No such file"):
        write_pairs(tmp_path / "none" / "p.parquet", [])


def test_every_kind_can_be_imported(tmp_path):
    assert set(READERS) == {*CASES, "phantom"}
    with pytest.raises(DataError, match="kind imagenet: is not known"):
        import_data("imagenet", "x", tmp_path / "o.parquet")
    with pytest.raises(DataError, match="takes no --images"):
        import_data("slake", "x", tmp_path / "o.parquet", licence="CC0-1.0")
    assert list(import_pairs("trl", write_json(tmp_path / "a.json", []))) == []


def test_a_path_that_is_not_utf_8_is_named_as_the_cause(tmp_path):
    """As `os.fsdecode` gives the folder b"caf\\xe9"."""
    case = replace(CASE, image=str(tmp_path / "caf\udce9/a.png"))
    with pytest.raises(DataError) as caught:
        write_cases(tmp_path / "out.parquet", iter([Row(case)]))
    assert "the path of its image is not UTF-8" in str(caught.value)
    assert not (tmp_path / "out.parquet").exists()
