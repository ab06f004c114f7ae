"""Files for TensorBoard, as TensorBoard reads them, and disks that fail under an open one."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer.record_writer import RecordWriter

from medray.tracking.tensorboard import TensorBoard


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


@pytest.fixture
def uncaught(monkeypatch):
    """What threads raise, of which Python prints a traceback."""
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    return raised


def test_figures_are_read_back_at_their_steps(tmp_path):
    board = TensorBoard(tmp_path)
    board.figures(1, {"loss": 0.7, "drops/stale": 2.0})
    board.figures(2, {"loss": 0.5})
    assert [(e.step, round(e.value, 4)) for e in read(tmp_path).Scalars("loss")] == [
        (1, 0.7), (2, 0.5),
    ]  # fmt: skip
    board.figures(2, {"eval/report_exact": 0.25})
    board.close()
    assert read(tmp_path).Tags()["scalars"] == ["loss", "drops/stale", "eval/report_exact"]


def test_a_second_start_adds_a_file(tmp_path):
    for step in (1, 2):
        board = TensorBoard(tmp_path)
        board.figures(step, {"loss": 1.0})
        board.close("stopped")
    assert len(list(tmp_path.iterdir())) == 2
    assert [e.step for e in read(tmp_path).Scalars("loss")] == [1, 2]


def test_settings_are_hyperparameters(tmp_path):
    settings = {"loop.steps": 20, "model.dtype": "bfloat16", "x": None, "generator.colocated": True}
    TensorBoard(tmp_path, settings).close()
    tags = read(tmp_path).summary_metadata
    content = HParamsPluginData.FromString(tags["_hparams_/session_start_info"].plugin_data.content)
    values = content.session_start_info.hparams
    assert values["loop.steps"].number_value == 20
    assert values["model.dtype"].string_value == "bfloat16"
    assert values["generator.colocated"].bool_value is True
    assert "x" not in values


def test_a_folder_that_vanishes_is_no_error_and_prints_nothing(tmp_path, uncaught, capfd):
    folder = tmp_path / "run" / "tensorboard"
    board = TensorBoard(folder, {"loop.steps": 3})
    board.figures(1, {"loss": 1.0})
    shutil.rmtree(tmp_path / "run")
    for step in range(2, 40):
        board.figures(step, {"loss": 1.0})
    board.close("failed")
    assert uncaught == []
    assert capfd.readouterr() == ("", "")
    assert not folder.exists()


def test_a_full_disk_ends_it_and_nothing_else(tmp_path, uncaught, capfd):
    board = TensorBoard(tmp_path)
    with Path("/dev/full").open("wb", buffering=0) as full:
        board.records = RecordWriter(full)
        for step in range(40):
            board.figures(step, {"loss": 1.0})
        assert board.records is None
        board.close()
    assert uncaught == []
    assert capfd.readouterr() == ("", "")


def test_a_place_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    board = TensorBoard(tmp_path / "taken" / "tensorboard", {"a": 1})
    board.figures(1, {"loss": 1.0})
    board.close()
