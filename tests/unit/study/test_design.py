"""From a study file to its cells."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from medray.errors import ConfigError
from medray.study import Study, read_study
from tests.support.paths import ROOT

FILE = {
    "study": {"name": "variants", "output": "studies"},
    "base": str(ROOT / "configs/quickstart.yaml"),
    "set": {"loop.steps": 3, "data.limit": None},
    "grid": {
        "objective.name": ["sft", "dpo"],
        "backbone": [
            {"label": "small", "model.path": "phantom/base", "learner.lr": 5.0e-4},
            {"model.path": "elsewhere/other model"},
        ],
        "run.seed": [0, 1],
    },
    "baseline": {"objective.name": "sft"},
}


def written(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**FILE, **changes}, sort_keys=False))
    return path


@pytest.fixture
def study(tmp_path) -> Study:
    return read_study(written(tmp_path), ("eval.n=7",))


def test_the_cells_are_the_product_of_the_grid(study):
    assert [cell.name for cell in study.cells] == [
        f"{objective}_{backbone}_{seed}"
        for objective in ("sft", "dpo")
        for backbone in ("small", "other-model")
        for seed in (0, 1)
    ]
    assert study.path == Path("studies/variants")
    first = study.cells[0]
    assert first.levels == (("objective.name", "sft"), ("backbone", "small"), ("run.seed", "0"))
    assert first.group == first.levels[:2]
    (table,) = study.tables
    assert (table.name, table.baseline) == ("", (("objective.name", "sft"),))


def test_each_cell_is_a_configuration_of_its_own(study):
    configs = {cell.name: study.config(cell) for cell in study.cells}
    one, other = configs["dpo_small_1"], configs["sft_other-model_0"]
    assert (one.objective.name, one.objective.hyperparameters) == ("dpo", {})
    assert (one.model.path, one.learner.lr, one.run.seed) == ("phantom/base", 5e-4, 1)
    assert (other.model.path, other.run.seed) == ("elsewhere/other model", 0)
    assert {config.loop.steps for config in configs.values()} == {3}
    assert {config.data.limit for config in configs.values()} == {None}
    assert {config.eval.n for config in configs.values()} == {7}
    assert one.run_dir == Path("studies/variants/cells/dpo_small_1")


def test_hyper_parameters_of_the_grid_go_with_their_objective(tmp_path):
    grid = {"objective": [{"objective.name": "dpo", "objective.beta": b} for b in (0.1, 0.5)]}
    grid["objective"][0]["label"] = "weak"
    study = read_study(written(tmp_path, grid=grid, baseline={}))
    found = {cell.name: study.config(cell).objective.hyperparameters for cell in study.cells}
    assert found == {"weak": {"beta": 0.1}, "dpo": {"beta": 0.5}}


def tabled(tmp_path: Path, **tables: object) -> Path:
    tree = {key: value for key, value in FILE.items() if key not in ("grid", "baseline")}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**tree, "tables": tables}, sort_keys=False))
    return path


def test_a_cell_of_two_tables_is_one_run(tmp_path):
    losses = {"objective.name": ["sft", "fire"], "run.seed": [0, 1]}
    answers = {"loop.resample_every": [0, 1], "objective.name": ["fire"], "run.seed": [0, 1]}
    study = read_study(
        tabled(
            tmp_path,
            losses={"grid": losses, "baseline": {"objective.name": "sft"}},
            answers={"grid": answers},
        )
    )
    first, second = study.tables
    assert [cell.name for cell in first.cells] == [
        "losses_sft_0",
        "losses_sft_1",
        "losses_fire_0",
        "losses_fire_1",
    ]
    assert [cell.name for cell in second.cells] == [
        "answers_0_fire_0",
        "answers_0_fire_1",
        "losses_fire_0",
        "losses_fire_1",
    ]
    assert second.cells[2].group == (("loop.resample_every", "1"), ("objective.name", "fire"))
    assert [cell.name for cell in study.cells] == [
        *(cell.name for cell in first.cells),
        *("answers_0_fire_0", "answers_0_fire_1"),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"grids": {}}, "tables.a.grids: unknown key"),
        ({}, "tables.a: grid: is empty"),
        (3, "tables.a: is not a named table"),
        ({"grid": {"run.seed": [0]}, "baseline": {"x": 1}}, "no cell has it"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, table, message):
    with pytest.raises(ConfigError) as caught:
        read_study(tabled(tmp_path, a=table))
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match="stands beside tables"):
        read_study(written(tmp_path, tables={"a": {"grid": {"run.seed": [0]}}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grids": {}}, "grids: unknown key"),
        ({"base": None}, "base: is missing"),
        ({"base": "nowhere.yaml"}, "nowhere.yaml: no such file"),
        ({"grid": {}}, "grid: is empty"),
        ({"grid": {"run.seed": 3}}, "run.seed: is not a list"),
        ({"grid": {"run.seed": [1, 1]}, "baseline": {}}, "two cells are named 1"),
        ({"grid": {"a": [{"label": "x"}]}, "baseline": {}}, "an entry sets no key"),
        ({"grid": {"loop.step": [1]}, "baseline": {}}, "loop.step: unknown key"),
        ({"grid": {"objective.name": ["dop"]}, "baseline": {}}, "'dop': unknown"),
        ({"baseline": {"objective.name": "fire"}}, "fire: no cell has it"),
        ({"study": {"name": "../x"}}, "is not a name"),
        ({"set": [1]}, "set: is not a mapping"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigError) as caught:
        read_study(written(tmp_path, **changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["- 1", "a: [", "{a: &x [*x]}"])
def test_a_file_that_is_no_study_is_refused(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_study(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_study(tmp_path / "none.yaml")
