"""A study whose cells have ended, without having been run."""

from __future__ import annotations

import pytest
import yaml

from medray.data.stream import first_studies
from medray.evaluation.answer_files import answer_table
from medray.evaluation.metrics import score_answers, summarise
from medray.phantom.dataset import write_dataset
from medray.plan import open_data
from medray.rundir import RunDirectory
from medray.study import compare_tables, read_results, read_study
from tests.support.paths import ROOT

WRONG = {"sft": 2, "dpo": 4, "fire": 1}  # one of so many answers of each objective is empty


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose cells have ended, but for one, with answers that are right or empty."""
    folder = tmp_path_factory.mktemp("study")
    write_dataset(folder / "phantoms", seed=0, n_train=2, n_heldout=12)
    tree = {
        "study": {"name": "s", "output": str(folder)},
        "base": str(ROOT / "configs/quickstart.yaml"),
        "set": {"data.path": str(folder / "phantoms"), "eval.n": 12, "loop.steps": 5},
        "grid": {"objective.name": list(WRONG), "run.seed": [0, 1]},
        "baseline": {"objective.name": "sft"},
    }
    (folder / "s.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    found = read_study(folder / "s.yaml")
    for cell in found.cells:
        if cell.name == "fire_1":
            continue
        config = found.config(cell)
        run = RunDirectory(config.run_dir)
        run.create(config)
        cases = first_studies(open_data(config)[1].heldout, config.eval.n)
        share = WRONG[config.objective.name]
        texts = {
            case.case_id: "" if (i + config.run.seed) % share == 0 else case.reference
            for i, case in enumerate(sorted(cases, key=lambda case: case.case_id))
        }
        rows = score_answers(cases, texts)
        start = score_answers(cases, dict.fromkeys(texts, "No"))
        run.write_eval(0, summarise(start), answer_table(start))
        run.write_eval(5, summarise(rows), answer_table(rows))
    return found


@pytest.fixture(scope="module")
def results(study):
    return read_results(study, {"fire_1": "step 3: out of memory"})


@pytest.fixture(scope="module")
def comparisons(study, results):
    return compare_tables(study, results)


@pytest.fixture(scope="module")
def groups(comparisons):
    (comparison,) = comparisons
    return comparison.groups
