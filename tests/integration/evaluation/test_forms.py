"""Every form of one policy is evaluated alike: merged model, adapter, run, file of answers."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from tests.support.processes.running import medray

ABOUT = {"seconds", "policy_version", "unusable", "notes", "cases", "difference"}  # not figures
PROBABLE = {"brier", "calibration_error"}  # from log-probabilities, which depend on the batches


@pytest.fixture(scope="module")
def evaluated(quickstart, tmp_path_factory):
    """The results of `medray eval` for each form, on 24 studies; and where the forms are."""
    folder = tmp_path_factory.mktemp("forms")
    for name, options in (("merged", ()), ("adapter", ("--adapter",))):
        done = medray("export", str(quickstart.path), "-o", str(folder / name), *options)
        assert done.returncode == 0, done.stderr
    answers = folder / "answers.jsonl"
    forms = {
        "merged": ("--model", folder / "merged", "--answers", answers),
        "adapter": ("--model", folder / "adapter", "--against", answers),
        "run": ("--checkpoint", quickstart.path, "--against", answers),
        "answers": ("--predictions", answers, "--against", answers),
    }
    results = {}
    for name, options in forms.items():
        config = str(quickstart.path / "config.yaml")
        done = medray("eval", config, "eval.n=24", *map(str, options))
        assert done.returncode == 0, done.stderr
        results[name] = json.loads(done.stdout)
    return results, folder


def figures(result):
    """Those that the texts alone determine, intervals included."""
    rest = {k: v for k, v in result.items() if k not in ABOUT | PROBABLE}
    bounds = {k: v for k, v in result["intervals"].items() if k not in PROBABLE}
    return rest | {"intervals": bounds}


@pytest.mark.chaos
def test_all_forms_give_the_same_figures(evaluated):
    results, _ = evaluated
    expected = results["merged"]
    assert expected["answers"] == 72
    for name, result in results.items():
        assert figures(result) == figures(expected), name
        for figure in PROBABLE:
            assert result[figure] == pytest.approx(expected[figure], abs=0.01), name
    assert [results[name]["policy_version"] for name in results] == [20, 20, 20, None]


@pytest.mark.chaos
def test_they_do_not_differ_case_by_case(evaluated):
    results, _ = evaluated
    for name in ("adapter", "run", "answers"):
        found = {k: v for k, v in results[name]["difference"].items() if k not in PROBABLE}
        assert len(found) > 10
        assert {(d["value"], d["low"], d["high"], d["p"]) for d in found.values()} == {(0, 0, 0, 1)}


@pytest.mark.chaos
def test_the_adapter_on_the_merged_model_is_refused(evaluated, quickstart):
    _, folder = evaluated
    options = (f"model.path={folder / 'merged'}", "--model", str(folder / "adapter"))
    done = medray("eval", str(quickstart.path / "config.yaml"), *options)
    assert done.returncode == 2
    assert "is a merged export, not the base of" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_keeps_the_answers_of_its_evaluations(quickstart):
    files = sorted((quickstart.path / "eval").glob("*.answers.parquet"))
    assert [path.name[:11] for path in files] == ["step-000000", "step-000010", "step-000020"]
    table = pq.read_table(files[-1])
    expected = quickstart.evals()[20]
    assert table.num_rows == expected["answers"]
    values = [value for value in table["closed_accuracy"].to_pylist() if value is not None]
    assert sum(values) / len(values) == pytest.approx(expected["closed_accuracy"])
    assert not any("patient" in name for name in table.column_names)
