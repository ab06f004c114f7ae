"""Room for checkpoints: counted by hand, and compared with what the disk has."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from medray.config import load_config
from medray.errors import UserError
from medray.memory import disk
from medray.policy.model.loading import model_facts
from tests.unit.memory.test_needs import BILLION, FULL, LORA, config


def test_a_checkpoint_is_master_moments_and_weights():
    assert disk.checkpoint_bytes(config(), LORA) == 12 * 10**8 + 2 * 6 * BILLION
    adapter = config(loop={"sync": "adapter"}, model={"lora": {"rank": 4}})
    assert disk.checkpoint_bytes(adapter, LORA) == 12 * 10**8 + 2 * 10**8
    assert disk.checkpoint_bytes(config(), FULL) == 12 * 6 * BILLION + 2 * 6 * BILLION


@pytest.mark.parametrize(
    ("loop", "number"),
    [
        ({"steps": 100, "checkpoint_every": 10}, 3),
        ({"steps": 100, "checkpoint_every": 10, "keep_checkpoints": 5}, 6),
        ({"steps": 100, "checkpoint_every": 10, "keep_best": "closed_accuracy"}, 4),
        ({"steps": 100, "checkpoint_every": 0}, 2),
        ({"steps": 5, "checkpoint_every": 3, "keep_checkpoints": 9}, 3),
    ],
)
def test_how_many_there_are_at_most(loop, number):
    assert disk.most_checkpoints(config(loop=loop)) == number


def test_a_disk_without_room_is_refused(tiny_llava, tmp_path, monkeypatch):
    text = f"data: {{kind: phantom}}\nmodel: {{path: {tiny_llava}}}\n"
    (tmp_path / "c.yaml").write_text(text + f"run: {{name: r, output: {tmp_path / 'runs'}}}\n")
    settings = load_config(tmp_path / "c.yaml")
    facts = model_facts(settings.model)
    assert disk.disk_line(settings, facts)[1].endswith("run.output is not here yet")
    (tmp_path / "runs/r/checkpoints/step-000001").mkdir(parents=True)
    assert disk.disk_line(settings, facts)[1].endswith("GiB are free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"has 0\.00 GiB free, and the run takes 3 checkpoints of"):
        disk.disk_line(settings, facts)
    own = tmp_path / "runs/r/checkpoints/step-000001/weights.safetensors"
    own.write_bytes(bytes(10_000_000))  # a run that goes on has its own already
    assert disk.disk_line(settings, facts)[1].endswith("GiB are free")
