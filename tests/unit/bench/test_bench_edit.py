"""`medray bench edit`: its figures, its built-in answers and its command, on any machine."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from typer.testing import CliRunner

from medray.bench import edit as bench
from medray.cli import app
from medray.config import CorruptionConfig
from medray.errors import DataError, UserError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bench, "MIN_SECONDS", 0.001)


def test_every_kind_of_corruption_has_figures():
    figures = bench.measure_corruption(size=48, feather=2, repeats=3)
    kinds = set(get_args(CorruptionConfig.model_fields["kind"].annotation))
    assert set(figures) == kinds | {"copy"}
    assert figures["copy"]["whole"]["times_a_copy"] == 1.0
    assert set(figures["gaussian"]) == {"lesion", "whole"}
    assert set(figures["inpaint"]) == {"lesion"}
    assert set(figures["crop"]) == {"whole"}
    for regions in figures.values():
        for rates in regions.values():
            seconds = rates["seconds"]
            assert seconds["min"] <= seconds["median"] <= seconds["max"]
            assert rates["images_per_second"] == pytest.approx(1 / seconds["median"])
    assert figures["diffusion"]["lesion"]["done"] == "diffusion step=500 feather=2"


def test_the_region_is_a_twentieth_of_the_image():
    assert bench.round_region(512).mean() == pytest.approx(0.049, abs=0.001)
    assert bench.picture(64).shape == (64, 64, 3)


def test_built_in_answers_are_distinct_and_include_right_and_wrong_ones():
    items = list(bench.built_in_answers())
    assert len(items) == len(set(items)) == 576
    result = bench.measure_editor(None)
    assert result["source"] == "built in"
    assert result["answers"] == 526
    assert sum(result["verdicts"].values()) == 526
    assert {"right", "wrong"} <= set(result["verdicts"])


def test_the_command_prints_json_and_a_table(tmp_path):
    file = tmp_path / "a.jsonl"
    row = {"question": "Which side?", "gold": "left lung", "model_answer": "right lung"}
    file.write_text((json.dumps(row) + "\n") * 4)
    arguments = ["bench", "edit", "--answers", str(file), "--size", "32", "--repeats", "1"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    built_in, from_file = result["editor"]
    assert built_in["source"] == "built in"
    assert from_file["verdicts"] == {"wrong": 2}
    assert result["command"].endswith(f"--answers {file}")
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "answers per second and core" in done.stdout


@pytest.mark.parametrize("text", ["", "no json", "[1]\n", '{"question": "a"}\n'])
def test_unreadable_answers_are_refused(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"a\.jsonl"):
        bench.read_answers(tmp_path / "a.jsonl")


def test_invalid_sizes_are_refused():
    for values in ({"size": 8}, {"repeats": 0}, {"feather": -1}):
        with pytest.raises(UserError):
            bench.run_edit(**values)


@pytest.mark.data
def test_the_real_answers_are_found(shared_data, monkeypatch):
    monkeypatch.setenv("MEDRAY_DATA", str(shared_data))
    assert len(bench.read_answers(bench._shared_answers())) == 1313
