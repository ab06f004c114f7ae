"""Files that people send each other, broken or hostile: runs, configurations, studies, answers.

Each: exit code 2, one printable line, soon, and nothing left behind. Beside `test_hostile_inputs`,
which has the datasets.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medray import cli
from medray.report import PairFilter, find_rows
from medray.rundir import RunDirectory
from tests.unit.cli.test_hostile_inputs import lines, put, refused
from tests.unit.report.test_report import make_run

__all__ = ["refused"]

LAUGHS = "a: &a [x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 20)}]\n" for i in range(8)
)
# What a configuration holds; `check` refuses it before anything is imported or read.
YAML = {
    "pipe": None,
    "device": Path("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "link to itself": lambda path: path.symlink_to(path.name),
    "bytes": bytes(range(256)),
    "utf-16": "data: {kind: phantom}\n".encode("utf-16"),
    "billion laughs": LAUGHS,
    "recursive": "data: &d {kind: *d}\n",
    "python": "data: !!python/object/apply:os.system [touch ran]\n",
    "python name": "data: !!python/name:os.system\n",
    "unknown tag": "data: !secret {kind: phantom}\n",
    "key that is a list": "? [a, b]\n: 1\n",
    "key that is null": "data: {kind: phantom}\nnull: 1\n",
    "tabs": "data:\n\tkind: phantom\n",
    "two documents": "data: {kind: phantom}\n---\ndata: {kind: jsonl}\n",
    "deep": "data: " + "[" * 5000,
    "endless integer": f"data: {{kind: phantom, seed: {'9' * 5000}}}\n",
    "infinity": "data: {kind: phantom}\nobjective: {beta: .inf}\n",
    "nan": "data: {kind: phantom}\nlearner: {lr: .nan}\n",
    "a date": "data: {kind: phantom}\nrun: {name: 2024-01-01}\n",
    "a binary": "data: {kind: phantom}\nrun: {name: !!binary aGVsbG8=}\n",
    "a set": "data: {kind: phantom}\nrun: !!set {name}\n",
    "escape in a key": 'data: {kind: phantom, "\\e[2J": 1}\n',
    "direction in a value": 'data: {kind: "\\u202ephantom"}\n',
    "NUL in a path": 'data: {kind: jsonl, path: "a\\0b"}\n',
    "half a character": 'data: {kind: jsonl, path: "\\ud83d"}\n',
    "a path of a megabyte": f"data: {{kind: jsonl, path: {'a' * 2**20}}}\n",
    "a name of climbing": "data: {kind: phantom}\nrun: {name: ../../x}\n",
    "home": "data: {kind: phantom}\nrun: {output: ~/runs}\n",
    "negative steps": "data: {kind: phantom}\nloop: {steps: -1}\n",
    "a truth for a number": "data: {kind: phantom}\nloop: {steps: true}\n",
}
STUDIES = {
    "pipe": None,
    "device": Path("/dev/zero"),
    "list": "[]\n",
    "nothing varied": "study: {name: s, output: out}\nbase: gone.yaml\n",
    "base of climbing": "study: {name: ../s, output: out}\nbase: /etc/passwd\ngrid: {a: [1]}\n",
    "grid of nothing": "study: {name: s, output: out}\nbase: c.yaml\ngrid: {loop.steps: []}\n",
    "grid without end": "study: {name: s, output: out}\nbase: c.yaml\ngrid: {"
    + ", ".join(f"data.seed{i}: [{', '.join(map(str, range(50)))}]" for i in range(6))
    + "}\n",
    "billion laughs": LAUGHS,
}
ANSWERS = {
    "pipe": None,
    "device": Path("/dev/zero"),
    "list": "[1]\n",
    "answer is a number": lines({"case_id": "a", "answer": 3}),
    "answer is NaN": lines({"case_id": "a", "answer": float("nan")}),
    "confidence is NaN": lines({"case_id": "a", "answer": "No", "confidence": float("nan")}),
    "confidence is a truth": lines({"case_id": "a", "answer": "No", "confidence": True}),
    "half a character": '{"case_id": "a", "answer": "\\ud83d"}\n',
    "deep": "[" * 100_000,
    "id of escape": lines({"case_id": "\x1b[2J", "answer": "No"}),
    "pickle": b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.",
}


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


RUNS = {  # what stands in the place of a file of a run that somebody sent
    "config is a pipe": ("config.yaml", os.mkfifo),
    "config is a device": ("config.yaml", device),
    "config is a folder": ("config.yaml", Path.mkdir),
    "config runs code": (
        "config.yaml",
        lambda p: p.write_text("!!python/object/apply:os.abort []"),
    ),
    "config laughs": ("config.yaml", lambda p: p.write_text(LAUGHS)),
    "config of bytes": ("config.yaml", lambda p: p.write_bytes(bytes(range(256)))),
    "metrics are a pipe": ("metrics.jsonl", os.mkfifo),
    "metrics are a device": ("metrics.jsonl", device),
    "metrics are deep": ("metrics.jsonl", lambda p: p.write_text("[" * 100_000 + "\n")),
    "metrics are numbers": ("metrics.jsonl", lambda p: p.write_text("1\n2\n")),
    "metrics of texts": ("metrics.jsonl", lambda p: p.write_text('{"step": "\\u001b[2J"}\n{}\n')),
    "ledger is empty": ("ledger/step-000001.parquet", Path.touch),
    "ledger of a page": ("ledger/step-000001.parquet", lambda p: p.write_text("<html>")),
    "ledger of other columns": (
        "ledger/step-000001.parquet",
        lambda p: pq.write_table(pa.table({"\x1b[2J": [1]}), p),
    ),
}


@pytest.mark.parametrize("name", YAML)
def test_configurations(refused, name):
    refused("check", put(YAML[name], "c.yaml"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", STUDIES)
def test_studies(refused, name):
    Path("c.yaml").write_text("data: {kind: phantom}\n")
    refused("study", put(STUDIES[name], "s.yaml"))


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_made_elsewhere(refused, name):
    rows = [{"id": i, "image": "a.png", "question": "q?", "answer": "No"} for i in "ab"]
    splits = [row | {"split": split} for row, split in zip(rows, ("train", "test"), strict=True)]
    Path("records.jsonl").write_text(lines(*splits))
    Path("c.yaml").write_text("data: {kind: jsonl, path: .}\nmodel: {path: m}\n")
    refused("eval", "c.yaml", "--predictions", put(ANSWERS[name], "answers.jsonl"))
    assert not Path("ran").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), steps=2).path


@pytest.mark.parametrize("name", RUNS)
def test_runs_that_somebody_sent(refused, run, name):
    shutil.copytree(run, "r")
    file, write = RUNS[name]
    path = Path("r", file)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    write(path)
    refused("pairs" if file.startswith("ledger") else "report", "r")


@pytest.mark.parametrize("name", ["step-000001.parquet", ""])
def test_a_ledger_that_holds_no_files_is_read_without_waiting(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "r")
    shutil.rmtree("r/ledger")
    Path("r/ledger").mkdir() if name else None
    os.mkfifo(Path("r/ledger", name))
    assert len(find_rows(RunDirectory.open("r"), PairFilter()).step) == 0


def test_a_home_in_a_configuration_makes_no_folder_of_that_name(refused):
    Path("c.yaml").write_text("data: {kind: phantom}\n")
    for key in ("run.output", "data.path", "model.path"):
        line = refused("check", "c.yaml", f"{key}=~/x")
        assert f"{key} = ~/x: ~ is not expanded" in line


def test_names_in_a_table_of_cases_are_spelt_out(tmp_path, monkeypatch, capsys):
    from medray.data.exchange import import_data

    monkeypatch.chdir(tmp_path)
    row = {"image": "gone.png", "question": "q?", "answer": "No"}
    Path("r.jsonl").write_text(lines(row))
    import_data("jsonl", "r.jsonl", Path("o.parquet"))
    table = pq.read_table("o.parquet")
    hostile = "\x1b]0;PWN\x07\u202e"
    for column in ("case_id", "source", "licence", "split"):
        index = table.column_names.index(column)
        table = table.set_column(index, column, pa.array([hostile]))
    pq.write_table(table, "o.parquet")
    for options in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["medray", "data", "check", "o.parquet", *options])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code in (0, None), err
        assert json.loads(out) if options else "[U+001B]" in out
        assert all(c.isprintable() or c == "\n" for c in out)
