"""From the evaluations of a study's cells to its tables."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medray.data.stream import first_studies
from medray.evaluation.answer_files import answer_table
from medray.evaluation.metrics import score_answers, summarise
from medray.phantom.dataset import write_dataset
from medray.plan import open_data
from medray.rundir import RunDirectory
from medray.study import compare_groups, read_results, read_study, write_tables
from medray.study.comparison import holm
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
        run.write_eval(5, summarise(rows), answer_table(rows))
    return found


@pytest.fixture(scope="module")
def results(study):
    return read_results(study, {"fire_1": "step 3: out of memory"})


@pytest.fixture(scope="module")
def groups(study, results):
    return compare_groups(study, results)


def test_a_cell_without_a_result_says_why(results):
    failures = {result.cell.name: result.failure for result in results if result.failure}
    assert failures == {"fire_1": "step 3: out of memory"}


def test_means_are_over_seeds_and_the_rest_over_pooled_answers(results, groups):
    sft, dpo, fire = groups
    for group, name in ((sft, "sft"), (dpo, "dpo")):
        values = [r.figures["report_exact"] for r in results if r.cell.name.startswith(name)]
        assert group.means["report_exact"] == pytest.approx(sum(values) / 2)
        low, high = group.intervals["report_exact"]
        assert low <= group.means["report_exact"] <= high
    assert len(fire.done) == len(fire.failures) == 1
    assert sft.differences == {}
    expected = dpo.means["report_exact"] - sft.means["report_exact"]
    assert dpo.differences["report_exact"]["value"] == pytest.approx(expected)
    assert dpo.differences["report_exact"]["p"] <= dpo.differences["report_exact"]["p_holm"] <= 1
    ranks = [group.ranks["report_exact"] for group in groups]
    assert ranks == [2, 1, 3]


def test_the_tables_hold_the_same_numbers(study, results, groups):
    path = write_tables(study, results, groups)
    text = path.read_text()
    assert "step 3: out of memory" in text
    assert "| dpo | 2 of 2 |" in text
    assert "| fire | 1 of 2 |" in text
    rows = list(csv.DictReader((study.path / "table.csv").open()))
    row = next(r for r in rows if (r["objective.name"], r["figure"]) == ("dpo", "report_exact"))
    assert float(row["mean"]) == groups[1].means["report_exact"]
    assert float(row["p_holm"]) == groups[1].differences["report_exact"]["p_holm"]
    long = pq.read_table(study.path / "results.parquet").to_pylist()
    assert {row["status"] for row in long if row["cell"] == "fire_1"} == {"failed"}
    assert {row["cell"] for row in long} == {cell.name for cell in study.cells}
    assert r"\begin{tabular}" in (study.path / "table.tex").read_text()


def test_names_are_escaped_in_every_table(study, results, groups):
    levels = (("a|b_c&d", "<b>x</b>"),)
    odd = [replace(groups[0], levels=levels)]
    write_tables(study, results, odd)
    assert r"a\|b_c&d" in (study.path / "table.md").read_text()
    assert "<b>" not in (study.path / "table.md").read_text().replace(r"\<b\>", "")
    assert r"a|b\_c\&d" in (study.path / "table.tex").read_text()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_at_least_p_keeps_its_order_and_rejects_no_more_than_bonferroni_allows(values):
    corrected = holm(values)
    for p, q in zip(values, corrected, strict=True):
        assert p <= q <= 1
        assert q <= min(1.0, len(values) * p) + 1e-12 or q == max(corrected)
    by_p = [q for _, q in sorted(zip(values, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_holm_by_hand():
    assert holm([0.01, 0.02, 0.04, 0.5]) == pytest.approx([0.04, 0.06, 0.08, 0.5])


def test_a_study_that_nobody_ran_has_empty_groups(study, tmp_path):
    moved = replace(study, output=Path(tmp_path))
    results = read_results(moved, {})
    assert {result.failure for result in results} == {"not run"}
    groups = compare_groups(moved, results)
    (tmp_path / "s").mkdir()
    write_tables(moved, results, groups)
    assert "–" not in (tmp_path / "s/table.md").read_text().split("Cells without")[0]
