"""The boards that a run opens, and what they are given."""

from __future__ import annotations

import pytest

from actors.launch import ending
from medray.config import load_config
from medray.errors import StoppedOnRequest
from medray.tracking import open_boards, sender
from medray.tracking.tensorboard import TensorBoard
from tests.support.paths import ROOT


def test_tensorboard_is_always_there_and_alone_by_default(tmp_path):
    (board,) = open_boards(load_config(ROOT / "configs/quickstart.yaml"), "Llava", tmp_path, print)
    board.close("finished")
    assert isinstance(board, TensorBoard)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_tracker_gets_the_names_and_the_shared_settings(tmp_path, monkeypatch):
    given = []

    class Kept:
        def __init__(self, *arguments):
            given.append(arguments)

    monkeypatch.setattr(sender, "Sender", Kept)
    overrides = ["run.trackers=[wandb, mlflow]", "run.name=r7", "run.project=lungs"]
    config = load_config(ROOT / "configs/quickstart.yaml", overrides)
    first, *_ = open_boards(config, "Llava", tmp_path, print)
    first.close("finished")
    assert [arguments[:3] for arguments in given] == [
        ("wandb", "r7", "lungs"), ("mlflow", "r7", "lungs"),
    ]  # fmt: skip
    settings = given[0][3]
    assert settings["model.architecture"] == "Llava"
    assert "model.path" not in settings


@pytest.mark.parametrize(
    ("error", "word"),
    [(None, "finished"), (StoppedOnRequest("asked"), "stopped"), (OSError(), "failed"),
     (KeyboardInterrupt(), "failed")],
)  # fmt: skip
def test_how_a_run_ends_is_known_while_it_ends(error, word):
    words = []

    def run():
        try:
            if error is not None:
                raise error
        finally:
            words.append(ending())

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    assert words == [word]
