"""Names planted wherever a hospital's data have them are in no byte that a command writes.

A path that was typed is repeated in messages; everything below it, and all that files hold, is not.
Imported and exported files refer to their images by path: without these columns.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image
from pydicom.config import disable_value_validation

from medray import cli
from tests.unit.imaging.dicom.test_dicom import write
from tests.unit.report.test_report import make_run

COUNTER = itertools.count()
PLANTED: list[str] = []
HEADER = (
    *("PatientName", "PatientID", "PatientAddress", "OtherPatientNames", "AccessionNumber"),
    *("StudyDescription", "SeriesDescription", "ReferringPhysicianName", "InstitutionName"),
    *("StationName", "OperatorsName", "PatientComments", "StudyID", "RequestingPhysician"),
    *("EthnicGroup", "Occupation", "DeviceSerialNumber", "ProtocolName", "ImageComments"),
    *("PatientMotherBirthName", "PerformingPhysicianName", "BurnedInAnnotation"),
)
PATHS = ("image", "rejected_image", "regions")  # columns that have to name a file


def name() -> str:
    """A new name that nothing else contains."""
    PLANTED.append(f"ZQX{next(COUNTER):03d}JANE")
    return PLANTED[-1]


def dicom(folder, **attributes):
    path = folder / f"{name()}^DOE.dcm"
    write(path, np.arange(256, dtype=np.uint8).reshape(16, 16), **attributes)
    dataset = pydicom.dcmread(path)
    with disable_value_validation():
        for keyword in HEADER:
            setattr(dataset, keyword, name())
        for number, kind in enumerate(("LO", "PN", "UT", "SH", "LT", "OB"), 1):
            value = name()
            block = dataset.private_block(0x0009 + 2 * number, name(), create=True)
            block.add_new(1, kind, value.encode() if kind == "OB" else value)
        dataset.save_as(path)
    return path


def dataset_of(folder):
    """Rows on DICOM and PNG files in folders of names; the last two files are damaged."""
    below = folder / name() / name()
    below.mkdir(parents=True)
    images = [dicom(below) for _ in range(4)]
    for _ in range(4):
        images.append(below / f"{name()}.png")
        Image.new("RGB", (16, 16), "red").save(images[-1])
    images[3].write_bytes(images[3].read_bytes()[:-99])
    images[7].write_bytes(images[7].read_bytes()[:-20])
    images.append(below / f"{name()}.png")  # is not there
    mask = below / f"{name()}.png"
    Image.new("L", (16, 16), 255).save(mask)
    rows = []
    for number, image in enumerate(images):
        row = {"image": str(image.relative_to(folder)), "question": "Is it?", "answer": "No"}
        row |= {"patient_id": name(), "study_id": name(), "mrn": name(), "nested": {"n": name()}}
        row |= {"split": "train" if number % 2 else "test"}
        row |= {"regions": [{"label": "lesion", "mask": str(mask.relative_to(folder))}]}
        rows.append(row)
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return images, mask


@pytest.fixture
def written(tmp_path, monkeypatch, capfd, tiny_llava):
    """Runs a command, and returns all that it printed."""
    monkeypatch.chdir(tmp_path)
    for variable in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(variable, os.environ.get(variable, "1"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["medray", *map(str, arguments)])
        with pytest.raises(SystemExit):
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return out + err

    return run


def found_in(text: str | bytes) -> list[str]:
    content = text.encode() if isinstance(text, str) else text
    return [planted for planted in PLANTED if planted.encode() in content]


def test_data_commands_write_no_name(written, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    images, mask = dataset_of(data)
    assert len(PLANTED) > 150
    printed = [written("data", "import", "jsonl", "data", "-o", "a.parquet")]
    printed += [written("data", "import", "dicom", "data", "-o", "b.parquet")]
    (data / "records.jsonl").rename(data / "rows.jsonl")
    printed += [written("data", "import", "dicom", "data", "-o", "c.parquet")]
    for file in ("a.parquet", "b.parquet", "c.parquet"):
        table = pq.read_table(tmp_path / file)
        plain = table.drop_columns([column for column in PATHS if column in table.column_names])
        assert found_in(json.dumps(plain.to_pylist())) == []
        assert table.schema.metadata[b"medray.kind"] == b"cases"
        printed += [written("data", "check", file), written("data", "check", file, "--json")]
        printed += [written("data", "export", file, "--to", "trl", "-o", "o.json")]
    for image in images:  # what was typed is repeated
        typed = written("corrupt", image, "-o", "o.png", "--mask", mask)
        printed.append(typed.replace(image.name, "").replace(mask.name, ""))
        if Path("o.png").exists():
            printed.append(Path("o.png").read_bytes().decode("latin-1"))
    assert found_in("\n".join(printed)) == []


def test_a_check_of_a_run_writes_no_name(written, tmp_path, tiny_llava):
    data = tmp_path / "data"
    data.mkdir()
    dataset_of(data)
    config = (
        "run: {name: r, output: runs}\n"
        f"model: {{path: {tiny_llava}, lora: {{rank: 4}}}}\n"
        "data: {kind: jsonl, path: data}\ngenerator: {max_new_tokens: 16}\n"
    )
    (tmp_path / "c.yaml").write_text(config)
    for kind in ("jsonl", "dicom"):
        text = written("check", "c.yaml", f"data.kind={kind}")
        assert "cannot be used" in text
        assert found_in(text) == []


def test_pages_of_a_run_write_no_name(written, tmp_path):
    folder = tmp_path / name()
    folder.mkdir()
    run = make_run(folder, steps=1)
    images = sorted((folder / "data").glob("*.png"))
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:-30])
    run.path.rename(tmp_path / "run")
    texts = [written("report", "run"), written("pairs", "run")]
    texts += [written("pairs", "run", "--html", "p.html"), written("review", "run", "-o", "v.html")]
    pages = [tmp_path / "run" / "report.html", tmp_path / "p.html", tmp_path / "v.html"]
    texts += [page.read_text() for page in pages]
    for text in texts:
        assert found_in(text) == [], text[max(0, text.find(PLANTED[-1]) - 200) :][:500]
    (folder / "data" / "cases.jsonl").unlink()
    written("report", "run")
    assert found_in(pages[0].read_text()) == []
