"""configs/study.yaml: what it compares, and that each of its cells could run."""

from __future__ import annotations

import pytest

from medray.objectives import find_objective
from medray.phantom import BASES, QWEN_BASE_PATH
from medray.plan import make_plan
from medray.policy.model.loading import resolve_model_path
from medray.study import read_study
from medray.study.reuse import needs_new_actors
from tests.support.paths import ROOT

LOSSES = (
    *("sft", "dpo", "irpo", "ipo", "simpo", "kto", "copo", "mdpo", "mmedpo"),
    *("rrpo", "mask_dpo", "tdpo2", "fire"),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    output = str(tmp_path_factory.mktemp("study"))
    found = read_study(ROOT / "configs/study.yaml", ("data.limit=12", "eval.n=4"))
    return type(found)(found.name, type(found.output)(output), found.base, found.tables)


def test_it_compares_losses_answers_and_targeting_on_two_families(study):
    objectives, answers, targeting = study.tables
    labels = {cell.group[0][1] for cell in objectives.cells}
    assert set(LOSSES) < labels
    assert {find_objective(study.config(c).objective.name).name for c in study.cells} == set(LOSSES)
    rounds = {study.config(cell).loop.resample_every for cell in answers.cells}
    assert min(rounds) == 0
    assert 1 in rounds
    assert len(rounds) == 3
    strengths = {study.config(cell).targeting.strength for cell in targeting.cells}
    assert len(strengths) == 2
    paths = {resolve_model_path(study.config(cell).model.path) for cell in study.cells}
    assert paths == {BASES["short"].resolve(), QWEN_BASE_PATH.resolve()}
    for table in study.tables:
        assert {dict(cell.levels)["run.seed"] for cell in table.cells} == {"0", "1", "2"}
        assert table.baseline
    assert len(study.cells) < sum(len(table.cells) for table in study.tables)


def test_cells_of_one_backbone_share_their_actors(study):
    configs = [study.config(cell) for cell in study.cells]
    for config in configs:
        same = config.model.path == configs[0].model.path
        assert needs_new_actors(configs[0], config) == ("" if same else "model.path")


def test_every_kind_of_cell_passes_the_checks_of_a_launch(study):
    kinds = {}
    for cell in study.cells:
        config = study.config(cell)
        key = (config.objective.model_dump_json(), config.loop.resample_every, config.targeting)
        kinds.setdefault(key, config)
    assert len(kinds) > len(LOSSES)
    for config in kinds.values():
        assert make_plan(config).dataset.train
