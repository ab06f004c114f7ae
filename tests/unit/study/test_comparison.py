"""From the evaluations of a study's cells to its tables."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.study import Comparison, compare_tables, read_results, write_tables
from medray.study.comparison import holm


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


def test_the_tables_hold_the_same_numbers(study, results, comparisons, groups):
    path = write_tables(study, results, comparisons)
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
    odd = Comparison(study.tables[0], [replace(groups[0], levels=levels)])
    write_tables(study, results, [odd])
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
    (tmp_path / "s").mkdir()
    write_tables(moved, results, compare_tables(moved, results))
    assert "–" not in (tmp_path / "s/table.md").read_text().split("Cells without")[0]
