"""study.html and methods.md of a finished study."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from medray.study import Comparison
from medray.study.curves import curve, panels
from medray.study.forest import forest
from medray.study.methods import write_methods
from medray.study.page import write_page

EVIL = '<img src=x onerror=alert(1)>"'
STARTS = {
    "sft_0": {"new_actors": "the first run", "start_seconds": 30.0, "seconds": 60.0},
    "sft_1": {"new_actors": "", "start_seconds": 2.0, "seconds": 25.0},
}


@pytest.fixture
def page(study, results, comparisons):
    return write_page(study, results, comparisons, STARTS).read_text()


def test_the_page_has_a_curve_per_method_and_an_effect_per_task(page):
    assert "started 1 times (30 s each) and reused 1 times (2 s each)" in page
    for objective in ("sft", "dpo", "fire"):
        assert f"<strong>{objective}</strong>" in page
    assert "Closed questions answered right" in page
    assert "step 3: out of memory" in page
    assert page.count('class="chart forest"') >= 3


def test_the_page_needs_no_network_and_no_script(page):
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=.?https?://", page)


def test_whatever_is_named_oddly_is_shown_as_text(study, results, comparisons, groups):
    levels = ((EVIL, EVIL),)
    failed = replace(results[0], failure=EVIL, cell=replace(results[0].cell, name=EVIL))
    odd = Comparison(study.tables[0], [replace(group, levels=levels) for group in groups[:2]])
    starts = {EVIL: {"new_actors": EVIL, "start_seconds": 0.0, "seconds": 0.0}}
    text = write_page(study, [failed], [odd], starts).read_text()
    assert "<img" not in text
    assert text.count("&lt;img") >= 5


def test_a_curve_is_the_mean_over_seeds_of_cells_that_ended(groups):
    sft, _, fire = groups
    points = curve(sft, "report_exact")
    assert [step for step, _ in points] == [0, 5]
    values = [result.curve[5]["report_exact"] for result in sft.results]
    assert points[1][1] == pytest.approx(sum(values) / 2)
    assert len(fire.done) == 1
    assert curve(replace(fire, results=fire.failures), "report_exact") == []


def test_all_panels_have_one_scale(comparisons):
    charts = panels(comparisons[0], "report_exact")
    assert [chart.title for chart in charts] == ["sft", "dpo", "fire"]
    assert len({chart.y_ticks for chart in charts}) == 1


def test_an_effect_lies_within_its_interval_and_says_its_direction(comparisons):
    plot = forest(comparisons[0], "report_exact", "Reports", comparisons[0].groups)
    assert [row.label for row in plot.rows] == ["dpo", "fire"]  # sft is the baseline
    for row in plot.rows:
        assert row.x_low <= row.x <= row.x_high
    found = comparisons[0].groups[1].differences["report_exact"]
    assert (plot.rows[0].x > plot.zero) == (found["value"] > 0)
    surely = replace(comparisons[0].groups[1])
    surely.differences = {"report_exact": {**found, "p_holm": 0.01, "value": 0.5}}
    again = forest(comparisons[0], "report_exact", "Reports", [surely])
    assert again.rows[0].kind == "better"


def test_methods_say_what_a_paper_needs(study, results):
    text = write_methods(study, results).read_text()
    for piece in (
        "objective.name: sft, dpo, fire",
        "−log σ(β·h)",
        "arXiv 2606.12590",
        "beta = 0.1",
        "Holm",
        "torch",
        "Commit of medray",
    ):
        assert piece in text, piece
