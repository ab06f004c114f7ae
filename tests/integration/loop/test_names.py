"""Names planted in headers, folders, files and rows of a real run's data are in no byte of it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.config import disable_value_validation

from medray.phantom.studies import study
from tests.support.paths import ROOT
from tests.support.processes.running import environment
from tests.support.trackers import NAMES, missing, python_path
from tests.unit.imaging.dicom.test_dicom import write

# Every command that reads or writes a run, after one of its own.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

HEADER = (
    *("PatientName", "PatientID", "PatientAddress", "OtherPatientNames", "AccessionNumber"),
    *("StudyDescription", "ReferringPhysicianName", "InstitutionName", "OperatorsName"),
)


class Names:
    """Names that nothing else contains, and all that were given."""

    def __init__(self) -> None:
        self.planted: list[str] = []
        self._numbers = itertools.count()

    def new(self) -> str:
        self.planted.append(f"ZQX{next(self._numbers):03d}JANE")
        return self.planted[-1]

    def found_in(self, content: bytes) -> list[str]:
        return [name for name in self.planted if name.encode() in content]


def write_data(folder: Path, names: Names, studies: int = 8) -> None:
    """Phantoms as DICOM in folders of names; one file is cut short."""
    below = folder / names.new() / names.new()
    below.mkdir(parents=True)
    rows = []
    for i in range(studies):
        shown = study(0, "train", i)
        path = below / f"{names.new()}^DOE.dcm"
        write(path, np.asarray(shown.image)[..., 0])
        header = pydicom.dcmread(path)
        with disable_value_validation():
            for keyword in HEADER:
                setattr(header, keyword, names.new())
            header.private_block(0x0011, names.new(), create=True).add_new(1, "LO", names.new())
            header.save_as(path)
        for exchange in shown.exchanges[:4]:
            row = {"image": str(path.relative_to(folder)), "split": "heldout" if i < 2 else "train"}
            row |= {"question": exchange.question, "answer": exchange.answer}
            row |= {"patient_id": names.new(), "study_id": names.new(), "mrn": names.new()}
            rows.append(row)
    cut = path.with_name(f"{names.new()}.dcm")
    cut.write_bytes(path.read_bytes()[:-99])
    rows.append(rows[-1] | {"image": str(cut.relative_to(folder))})
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder: Path, *arguments: str) -> bytes:
    """What the command printed; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "medray.cli", *arguments],
        cwd=folder,
        env=environment()
        | {"PYTHONPATH": python_path(), "TMPDIR": str(folder / "tmp")}
        | {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/made/mlflow.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout


def content(path: Path) -> bytes:
    """The bytes of a file; those of a table also without its compression."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        data += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
    return data


def test_every_byte_of_a_run_and_of_what_reads_it(tmp_path):
    names, made, data = Names(), tmp_path / "made", tmp_path / "data"
    (tmp_path / "tmp").mkdir()
    made.mkdir()
    write_data(data, names)
    assert len(names.planted) > 150
    config = str(ROOT / "configs/quickstart.yaml")
    settings = ("data.kind=jsonl", f"data.path={data}", "data.limit=null", "eval.n=4")
    settings += ("corruption.region=lesion-or-saliency", "loop.steps=3", "loop.batch=8")
    trackers = [] if missing() else list(NAMES)
    settings += (f"run.trackers={trackers}",)
    printed = run(tmp_path, "launch", config, *settings, f"run.output={made}", "run.name=r")
    for arguments in (
        ("pairs", "made/r", "--status", "all"),
        ("pairs", "made/r", "--html", "made/pairs.html"),
        ("report", "made/r"),
        ("review", "made/r", "-o", "made/review.html"),
        ("eval", "made/r/config.yaml", "--checkpoint", "made/r", "--answers", "made/answers.jsonl"),
        ("export", "made/r", "-o", "made/model"),
    ):
        printed += run(tmp_path, *arguments)
    assert b"image-truncated" in printed
    assert b"left out from here on" not in printed
    assert len(list(made.rglob("run-*.wandb"))) == ("wandb" in trackers)
    files = [path for path in made.rglob("*") if path.is_file()]
    assert {".parquet", ".html", ".log", ".json", ".safetensors"} <= {p.suffix for p in files}
    assert names.found_in(printed) == []
    for path in files:
        assert names.found_in(content(path)) == [], path
        assert names.found_in(os.fsencode(path)) == []
    assert names.found_in("".join(map(str, (tmp_path / "tmp").rglob("*"))).encode()) == []
