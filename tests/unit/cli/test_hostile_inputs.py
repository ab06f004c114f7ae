"""Hostile and broken inputs, one a line: exit code 2, one line, soon, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medray import cli
from tests.unit.cli.test_bad_input import check_line, tree
from tests.unit.imaging.dicom.test_compressed_dicom import deflated
from tests.unit.imaging.dicom.test_dicom import write

ROW = {"id": "a", "image": "a.png", "question": "Is there a nodule?", "answer": "No"}
TURNS = [{"from": "human", "value": "<image>\nIs it?"}, {"from": "gpt", "value": "Yes."}]
PAIR = {"id": "p", "image": "a.png", "conversations": TURNS, "rejected_conversations": TURNS}


class _RunsCode:
    def __reduce__(self):
        return os.system, ("touch ran",)


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def answers(text):
    return [TURNS[0], {"from": "gpt", "value": text}]


# what the file `input` holds: None a pipe, a text, bytes, or a function that writes it
JSONL = {
    "pipe": None,
    "device": Path("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "half a character": lines(ROW).replace("No", "\\ud83d"),
    "endless integer": '{"image": "a.png", "question": "q", "answer": ' + "9" * 5000 + "}",
    "deep": "[" * 100_000,
    "utf-16": lines(ROW).encode("utf-16"),
    "bytes": bytes(range(256)),
    "list": "[1]\n",
    "image is a number": lines(ROW | {"image": 3}),
    "image with NUL": lines(ROW | {"image": "a\0.png"}),
    "images": lines({"images": ["a.png", 3], "question": "q", "answer": "a"}),
    "answer is a list": lines(ROW | {"answer": ["No"]}),
    "question is NaN": lines(ROW | {"question": float("nan")}),
    "question of controls": lines(ROW | {"question": "\x1b\u202e"}),
    "question nan": lines(ROW | {"question": "nan"}),
    "id twice": lines(ROW, ROW),
    "unknown split": lines(ROW | {"split": "\x1b[2Jtrain"}),
    "box in fractions": lines(ROW | {"regions": [{"label": "x", "box": [0.1, 0.1, 0.9, 0.9]}]}),
    "box of NaN": lines(ROW | {"regions": [{"label": "x", "box": [0, 0, float("nan"), 9]}]}),
    "box of infinity": lines(ROW | {"regions": [{"label": "x", "box": [0, 0, 1e999, 9]}]}),
    "box of texts": lines(ROW | {"boxes": [{"label": "x", "xyxy": ["0", "0", "9", "9"]}]}),
    "empty box": lines(ROW | {"regions": [{"label": "x", "box": [9, 9, 9, 9]}]}),
    "mask is a number": lines(ROW | {"regions": [{"label": "x", "mask": 1}]}),
    "options of one": lines(ROW | {"options": ["No"]}),
    "options that run": lines(ROW | {"options": "__import__('os').system('touch ran')"}),
    "truth is a text": lines(ROW | {"truth": "left"}),
}
PAIRS = {
    "pipe": None,
    "device": Path("/dev/zero"),
    "no list": "{}",
    "chosen is NaN": json.dumps([PAIR | {"conversations": answers(float("nan"))}]),
    "chosen nan": json.dumps([PAIR | {"conversations": answers("nan")}]),
    "image in an answer": json.dumps([PAIR | {"rejected_conversations": answers("a <image>")}]),
    "a turn's end in an answer": json.dumps([PAIR | {"conversations": answers("<|im_end|>")}]),
    "score is infinite": json.dumps([PAIR | {"weighted_score": 1e999}]),
    "cut short": json.dumps([PAIR])[:-20],
    "deep": "[" * 100_000,
    "page": "<!DOCTYPE html>",
}
PARQUET = {
    "pipe": None,
    "device": Path("/dev/zero"),
    "empty": b"",
    "magic alone": b"PAR1" * 2,
    "text": "case_id,image\n",
}
IMAGES = {
    "pipe": None,
    "device": Path("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "link to itself": lambda path: path.symlink_to(path.name),
    "empty": b"",
    "zeros": bytes(5000),
    "page": "<html>404</html>",
    "git-lfs": "version https://git-lfs.github.com/spec/v1\n",
    "nifti": bytes(344) + b"n+1\0",
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "cut png": b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    "a hole of a terabyte": lambda path: path.touch() or os.truncate(path, 2**40),
    "dicom of 4 billion pixels": lambda path: _sized(path, 65535, 65535),
    "dicom beyond its bytes": lambda path: _sized(path, 4000, 4000),
    "dicom without pixels": b"\0" * 128 + b"DICM",
    "deflated and cut": lambda path: path.write_bytes(deflated(path).read_bytes()[:-9]),
}
TREES = {
    "pathvqa that runs": lambda d: _file(d, "train_qa.pkl", pickle.dumps([_RunsCode()])),
    "pathvqa of a pipe": lambda d: _pipe(d, "train_qa.pkl"),
    "vqa-rad of a pipe": lambda d: (
        (d / "VQA_RAD Image Folder").mkdir(),
        _pipe(d, "VQA_RAD Dataset Public.json"),
    ),
    "slake of a pipe": lambda d: _pipe(d, "train.json"),
    "iu-xray of unknown parts": lambda d: _file(d, "annotation.json", b'{"\x1b[2J": [{}]}'),
    "mimic-cxr-jpg that inflates": lambda d: _inflates(d),
    "mimic-cxr-jpg with a damaged archive": lambda d: _archive(d, b"PK\x03\x04 damaged"),
    "vgmed of two files": lambda d: (_file(d, "a.json", b"[]"), _file(d, "b.json", b"[]")),
    "dicom without a file": lambda d: _file(d, "a.txt", b"nothing"),
    "parquet without a file": lambda d: _file(d, "a.txt", b"nothing"),
    "medheval without lists": lambda d: _file(d, "a.json", b"[]"),
}


def _sized(path, rows, columns):
    write(path, np.zeros((2, 2), np.uint8), Rows=rows, Columns=columns)


def _file(folder, name, content):
    (folder / name).write_bytes(content)


def _pipe(folder, name):
    os.mkfifo(folder / name)


def _inflates(folder):
    with gzip.open(folder / "mimic-cxr-2.0.0-split.csv.gz", "wb") as file:
        file.write(b"dicom_id,study_id,subject_id,split\n")
        file.write(b"\n" * 2**22)
        for _ in range(80):
            file.write(b"," * 2**20)


def _archive(folder, content):
    row = b"dicom_id,study_id,subject_id,split\nd,1,10,train\n"
    with gzip.open(folder / "mimic-cxr-2.0.0-split.csv.gz", "wb") as file:
        file.write(row)
    _file(folder, "mimic-cxr-reports.zip", content)


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Run a command in an own folder: it ends with 2 and one line, leaving nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # main() sets them: undo it at the end
    Image.new("RGB", (16, 16)).save("a.png")

    def run(*arguments):
        before, start = tree(tmp_path), time.monotonic()
        monkeypatch.setattr(sys, "argv", ["medray", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capfd.readouterr()
        assert caught.value.code == 2, err
        check_line(err)
        assert err.isprintable() or err.rstrip("\n").isprintable()
        assert out == ""
        assert tree(tmp_path) == before
        assert time.monotonic() - start < 60  # it would wait for ever
        return err

    return run


def put(content, name):
    path = Path(name)
    if content is None:
        os.mkfifo(path)
    elif isinstance(content, Path):
        path.symlink_to(content)
    elif callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize("name", JSONL)
def test_rows(refused, name):
    refused("data", "import", "jsonl", put(JSONL[name], "r.jsonl"), "-o", "o.parquet")


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(refused, name):
    refused("data", "import", "mmedpo", put(PAIRS[name], "p.json"), "-o", "o.parquet")


@pytest.mark.parametrize("name", PARQUET)
def test_parquet(refused, name):
    path = put(PARQUET[name], "f.parquet")
    for command in (["check"], ["import", "parquet"], ["export", "--to", "trl"]):
        out = [] if command == ["check"] else ["-o", "o.json"]
        refused("data", *command, path, *out)


@pytest.mark.parametrize("name", IMAGES)
def test_images_and_masks(refused, name):
    path = put(IMAGES[name], "x.dcm" if "d" in name.split()[0][:2] else "x.png")
    refused("corrupt", path, "-o", "o.png", "--box", "1,1,9,9")
    refused("corrupt", "a.png", "-o", "o.png", "--mask", path)


@pytest.mark.parametrize("name", TREES)
def test_datasets(refused, tmp_path, name):
    folder = tmp_path / "d"
    folder.mkdir()
    TREES[name](folder)
    refused("data", "import", name.split()[0], "d", "-o", "o.parquet")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", ["https://host/d", "~/d", "C:\\d", "gone", "d\x1b[2J"])
def test_places(refused, path):
    refused("data", "import", "jsonl", path, "-o", "o.parquet")


@pytest.mark.parametrize("out", ["gone/o.parquet", "folder", "/dev/full/o.parquet"])
def test_outputs(refused, tmp_path, out):
    (tmp_path / "folder").mkdir()
    (tmp_path / "r.jsonl").write_text(lines(ROW))
    refused("data", "import", "jsonl", "r.jsonl", "-o", out)


def test_a_result_is_not_written_into_a_pipe_that_nobody_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 16)).save("a.png")
    os.mkfifo("o.png")
    monkeypatch.setattr(sys, "argv", ["medray", "corrupt", "a.png", "-o", "o.png"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code in (0, None)
    assert Path("o.png").is_file()
    capsys.readouterr()


@pytest.mark.parametrize(
    "text",
    ["\x00", "[" * 100_000, '{"question": "q", "gold": NaN, "model_answer": "Yes"}', "\ufeff1"],
)
def test_answers_to_edit(refused, text):
    Path("t.jsonl").write_text(text + "\n")
    refused("edit", "t.jsonl", "-o", "o.jsonl")


@pytest.mark.parametrize("content", [None, Path("/dev/zero")], ids=str)
def test_answers_to_edit_are_read_from_a_file(refused, content):
    refused("edit", put(content, "t.jsonl"), "-o", "o.jsonl")


def test_an_archive_of_reports_that_inflates(refused, tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    _archive(folder, b"")
    with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files/p10/p10/s1.txt", b"FINDINGS: " + b" " * 2**28)
    refused("data", "import", "mimic-cxr-jpg", "d", "-o", "o.parquet")
