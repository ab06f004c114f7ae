"""Weights & Biases and MLflow themselves: offline, and with a store in a file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from medray.tracking import sender
from medray.tracking.sender import Sender
from tests.support.trackers import missing, python_path

pytestmark = pytest.mark.slow

SETTINGS = {"loop.steps": 3, "objective.name": "fire", "model.max_length": None, "x.on": True}
READ_WANDB = """
import json, struct, sys
from wandb.proto import wandb_internal_pb2 as pb

def records(path):
    # W&B's file: 7 bytes, then LevelDB's log; records of less than a block are in one piece
    data, at = open(path, "rb").read(), 7
    while at + 7 <= len(data):
        _, size, kind = struct.unpack_from("<IHB", data, at)
        assert kind == 1
        yield pb.Record.FromString(data[at + 7 : at + 7 + size])
        at += 7 + size

found = {"rows": [], "config": {}, "exit": None}
for path in sys.argv[1:]:
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = record.history.item
            found["rows"].append({
                (i.key or ".".join(i.nested_key)): json.loads(i.value_json) for i in items
            })
        elif kind == "run":
            found |= {"project": record.run.project, "name": record.run.display_name}
            for item in record.run.config.update:
                found["config"][item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
print(json.dumps(found))
"""


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory, if there is one: MLflow makes a store by a hundred changes of it, each
    waiting for the disk."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        make = f"from mlflow import MlflowClient as C; C('sqlite:///{folder}/empty.db')"
        environment = os.environ | {"PYTHONPATH": python_path()}
        if not missing():
            command = [sys.executable, "-c", f"{make}.get_experiment('0')"]
            subprocess.run(command, env=environment, check=True, capture_output=True)
        yield Path(folder)


@pytest.fixture
def store(memory) -> Iterator[Path]:
    """Of MLflow, empty."""
    path = memory / "mlflow.db"
    shutil.copy(memory / "empty.db", path)
    yield path
    path.unlink()


@pytest.fixture
def run(trackers, tmp_path, monkeypatch, lines, store):
    """Sends two steps and an evaluation to a tracker, as a run named `one` does."""
    for ending in sender.PATIENCE:
        monkeypatch.setitem(sender.PATIENCE, ending, 120.0)  # on a busy machine
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")

    def send(tracker: str, steps=(1, 2), ending="finished", settings=SETTINGS) -> None:
        board = Sender(tracker, "one", "lungs", settings, tmp_path, lines.append)
        for step in steps:
            board.figures(step, {"loss": 1.0 / step, "drops/abstained:not-comparable": 2.0})
        board.figures(steps[-1], {"eval/report_exact": 0.25})
        board.close(ending)

    return send


def rows(path: Path, query: str) -> list[tuple]:
    with sqlite3.connect(path) as store:
        return sorted(store.execute(query).fetchall())


def read_wandb(folder: Path) -> dict:
    files = sorted(map(str, (folder / "wandb").glob("offline-run-*/*.wandb")))
    command = [sys.executable, "-c", READ_WANDB, *files]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_mlflow_and_a_resumed_run_in_it(run, store, lines):
    run("mlflow", ending="stopped")
    assert rows(store, "select key, step, value from metrics") == [
        ("drops/abstained:not-comparable", 1, 2.0), ("drops/abstained:not-comparable", 2, 2.0),
        ("eval/report_exact", 2, 0.25), ("loss", 1, 1.0), ("loss", 2, 0.5),
    ]  # fmt: skip
    assert rows(store, "select key, value from params") == [
        ("loop.steps", "3"), ("model.max_length", "None"), ("objective.name", "fire"),
        ("x.on", "True"),
    ]  # fmt: skip
    assert rows(store, "select name, status from runs") == [("one", "KILLED")]
    assert ("lungs",) in rows(store, "select name from experiments")
    assert rows(store, "select key from tags") == [("mlflow.runName",)]  # no user, host or file

    run("mlflow", steps=(3,), settings=SETTINGS | {"loop.steps": 9, "new": 1})
    assert lines == []
    assert rows(store, "select name, status from runs") == [("one", "FINISHED")]
    assert rows(store, "select step from metrics where key = 'loss'") == [(1,), (2,), (3,)]
    assert ("loop.steps", "3") in rows(store, "select key, value from params")
    assert ("new", "1") in rows(store, "select key, value from params")
    assert ("resumed.loop.steps", "9") in rows(store, "select key, value from tags")


def test_wandb_offline_gets_figures_and_settings_and_nothing_of_the_machine(
    run, tmp_path, monkeypatch, lines
):
    """Neither its name, nor who and where, nor what is installed, nor the command."""
    monkeypatch.setenv("USER", "dr-who")
    run("wandb")
    assert lines == []
    found = read_wandb(tmp_path)
    assert (found["project"], found["name"], found["exit"]) == ("lungs", "one", 0)
    figures = [{k: v for k, v in row.items() if not k.startswith("_")} for row in found["rows"]]
    assert figures == [
        {"step": 1, "loss": 1.0, "drops/abstained:not-comparable": 2.0},
        {"step": 2, "loss": 0.5, "drops/abstained:not-comparable": 2.0},
        {"step": 2, "eval/report_exact": 0.25},
    ]
    settings = {key: value for key, value in found["config"].items() if key != "_wandb"}
    assert settings == SETTINGS

    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    files = [p for p in folder.rglob("*") if p.is_file() and "logs" not in p.parts]
    assert [p.name for p in files if p.suffix != ".wandb"] == []
    sent = b"".join(path.read_bytes() for path in files)
    for text in (socket.gethostname(), os.getcwd(), str(tmp_path), "dr-who", "medray.tracking"):
        assert text.encode() not in sent, text


def test_wandb_keeps_its_identity_and_notes_a_failure(run, tmp_path, lines):
    run("wandb", ending="failed")
    assert read_wandb(tmp_path)["exit"] == 1
    first = (tmp_path / "wandb.id").read_text()
    run("wandb", steps=(3,))
    assert (tmp_path / "wandb.id").read_text() == first
    assert lines == []
    names = [p.name for p in (tmp_path / "wandb").glob("offline-run-*/*.wandb")]
    assert set(names) == {f"run-{first.strip()}.wandb"}
    assert [row["step"] for row in read_wandb(tmp_path)["rows"]] == [1, 2, 2, 3, 3]


def silent_server():
    """Accepts, and never answers."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(8)
    return server, f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_run_does_not_wait_for_a_tracker_that_hangs(run, tmp_path, monkeypatch, lines):
    server, address = silent_server()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setitem(sender.PATIENCE, "finished", 2.0)
    with server:
        board = Sender("mlflow", "one", "lungs", SETTINGS, tmp_path, lines.append)
        for step in range(500):  # more than a pipe holds: whoever wrote there would wait for ever
            board.figures(step, {f"figure {i}": 1.0 for i in range(50)})
        assert lines == []
        board.close("finished")
    assert board.process.returncode == -signal.SIGKILL
    assert lines == ["mlflow is left out from here on: did not end within 2 s — the run goes on "
                    "without it"]  # fmt: skip


def test_figures_for_a_tracker_that_hangs_do_not_pile_up(run, tmp_path, monkeypatch, lines):
    server, address = silent_server()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr(sender, "WAITING", 10)
    with server:
        board = Sender("mlflow", "one", "lungs", SETTINGS, tmp_path, lines.append)
        for step in range(3000):
            board.figures(step, {f"figure {i}": 1.0 for i in range(50)})
        board.close("finished")
    assert len(lines) == 1
    assert "takes no figures any more" in lines[0]


def test_a_tracker_that_cannot_be_reached_is_one_line(run, tmp_path, monkeypatch, lines):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    run("mlflow")
    assert len(lines) == 1
    assert lines[0].startswith("mlflow is left out from here on: ")
    assert "nonsense" in lines[0]
    assert "\n" not in lines[0]


def test_a_tracker_that_is_killed_is_one_line(run, tmp_path, lines):
    board = Sender("mlflow", "one", "lungs", SETTINGS, tmp_path, lines.append)
    board.process.kill()
    board.process.wait()
    for step in range(3):
        board.figures(step, {"loss": 1.0})
    board.close("finished")
    assert len(lines) == 1
    assert "its process ended with code -9 — the run goes on without it" in lines[0]


def test_a_run_that_is_killed_leaves_no_process(run, store, tmp_path, lines):
    """The pipe ends: the tracker notes a failure, and ends too."""
    board = Sender("mlflow", "one", "lungs", SETTINGS, tmp_path, lines.append)
    board.figures(1, {"loss": 1.0})
    board._no_more()  # as a process that is killed closes its pipe
    assert board.process.wait(60) == 0
    assert rows(store, "select status from runs") == [("FAILED",)]
