"""Metrics of other packages: computed where they are installed, else one line."""

from __future__ import annotations

import sys
import types

import pytest

from medray.errors import UserError
from medray.evaluation.metrics import WORDED, compare, score_answers, summarise
from medray.evaluation.packages import EXTERNAL, add_external, find_metrics
from medray.records import Case

CASES = [
    Case("a", "1.png", "1", "Where?", "left lung", "open"),
    Case("b", "2.png", "2", "Is there a nodule?", "Yes", "closed"),
    Case("c", "3.png", "3", "Describe.", "Clear lungs.", "report"),
]
ROWS = score_answers(CASES, {"a": "left", "b": "Yes", "c": "Clear lungs."})


class RadEval:
    """The interface of the real one: a list of floats per key with `per_sample`."""

    def __init__(self, metrics, per_sample):
        assert per_sample
        self.name = metrics[0]

    def __call__(self, refs, hyps):
        if self.name == "green":
            raise OSError("no such model\nand more")
        exact = [float(one == other) for one, other in zip(refs, hyps, strict=True)]
        return {self.name: exact, f"{self.name}_partial": [0.5 + e / 2 for e in exact]}


@pytest.fixture
def installed(monkeypatch):
    module = types.ModuleType("radeval")
    module.RadEval = RadEval
    monkeypatch.setitem(sys.modules, "radeval", module)


def test_its_scores_are_figures_with_intervals_and_differences(installed):
    rows, more, notes = add_external(ROWS, ["radeval:radgraph"], types=WORDED)
    result = summarise(rows, more)
    assert notes == []
    assert result["radeval:radgraph"] == 1 / 2  # of the open answer and the report
    assert result["radeval:radgraph.radgraph_partial"] == 3 / 4
    assert result["intervals"]["radeval:radgraph"] == [0.0, 1.0]
    assert result["open_recall"] == 1 / 2
    difference = compare(rows, rows, more)["difference"]
    assert difference["radeval:radgraph"]["value"] == 0


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "radeval", None)
    rows, more, notes = add_external(ROWS, list(EXTERNAL), types=WORDED)
    assert (rows, more) == (ROWS, [])
    assert notes[0] == "radeval:bertscore: the package radeval is not installed — install it"
    assert len(notes) == len(EXTERNAL)


def test_missing_files_are_one_line(installed):
    _, more, notes = add_external(ROWS, ["radeval:green", "radeval:radcliq"], types=WORDED)
    assert notes == ["radeval:green: cannot be computed here (OSError: no such model)"]
    assert {figure.name for figure in more} == {
        "radeval:radcliq",
        "radeval:radcliq.radcliq_partial",
    }


def test_unknown_metrics_are_refused():
    assert find_metrics(["radeval:green", "radeval:green"]) == ["radeval:green"]
    for name in ("green", "radeval:crimson"):  # crimson sends the texts to a service
        with pytest.raises(UserError, match="one of radeval:bertscore"):
            find_metrics([name])
