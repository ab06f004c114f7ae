"""The folder that `write_dataset` writes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medray.config import load_config
from medray.errors import ConfigError, DataError
from medray.phantom.dataset import write_dataset
from medray.phantom.studies.study import study
from medray.plan import with_phantoms
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "phantom"
    write_dataset(out, seed=4, n_train=6, n_heldout=3)
    return out


def _rows(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_rows_are_complete_and_in_order(folder):
    rows = _rows(folder)
    assert len(rows) == 27
    assert len({row["id"] for row in rows}) == 27
    assert [row["id"] for row in rows[:3]] == [
        "phantom-train-000000-report",
        "phantom-train-000000-closed",
        "phantom-train-000000-open",
    ]
    assert [row["split"] for row in rows] == ["train"] * 18 + ["heldout"] * 9
    keys = ["id", "image", "question", "answer", "answer_type", "split", "regions", "truth"]
    keys += ["patient_id", "source", "licence"]
    for row in rows:
        assert list(row) == keys
        assert row["source"] == "phantom"
        assert row["licence"] == "CC0-1.0"
        if row["truth"]["kind"] == "none":
            assert set(row["truth"]) == {"kind", "heart"}
            assert row["regions"] == []
        else:
            assert row["regions"][0]["label"] == row["truth"]["kind"]
            assert len(row["regions"][0]["box"]) == 4


def test_images_are_those_of_the_studies(folder):
    for row in _rows(folder)[::3]:
        split, index = row["image"].removeprefix("images/").removesuffix(".png").split("-")
        image = np.asarray(Image.open(folder / row["image"]))
        assert (image == study(4, split, int(index)).image).all()


def test_the_same_seed_writes_the_same_bytes_and_leaves_nothing_behind(folder, tmp_path):
    again = tmp_path / "again"
    write_dataset(again, seed=4, n_train=6, n_heldout=3)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((folder / f).read_bytes() == (again / f).read_bytes() for f in files)
    assert [p.name for p in tmp_path.iterdir()] == ["again"]


def test_an_occupied_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_dataset(tmp_path, seed=0, n_train=1, n_heldout=0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_dataset_json_has_seed_and_counts(folder):
    metadata = json.loads((folder / "dataset.json").read_text())
    assert metadata["seed"] == 4
    assert metadata["studies"] == {"train": 6, "heldout": 3}
    assert metadata["cases"] == 27
    assert metadata["format_version"] == 1


def test_a_folder_of_another_style_is_refused(folder):
    given = [f"data.path={folder}", "data.style=paragraphs"]
    with pytest.raises(ConfigError, match="holds phantoms of the style 'short'"):
        with_phantoms(load_config(ROOT / "configs/quickstart.yaml", given))


@pytest.mark.parametrize("moment", ["before the look", "before the rename"])
def test_two_commands_may_write_the_same_phantoms_at_once(tmp_path, monkeypatch, moment):
    """A sweep starts its runs together, and all of them share the default folder."""
    from medray.phantom import dataset

    overrides = [f"run.output={tmp_path}", "data.limit=6", "eval.n=2"]
    config = load_config(ROOT / "configs/quickstart.yaml", overrides)
    write = dataset.write_dataset if moment == "before the look" else dataset._write
    name = "write_dataset" if moment == "before the look" else "_write"

    def overtaken(*arguments, **keys):
        """The other command is a moment faster."""
        monkeypatch.setattr(dataset, name, write)
        if moment == "before the look":
            with_phantoms(config)
        write(*arguments, **keys)
        if moment == "before the rename":
            with_phantoms(config)

    monkeypatch.setattr(dataset, name, overtaken)
    filled = with_phantoms(config)
    assert len(_rows(tmp_path / filled.data.path)) == 12
    assert [path.name for path in tmp_path.iterdir()] == [(tmp_path / filled.data.path).name]
