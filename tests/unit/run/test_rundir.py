"""The run directory: never overwritten by accident, intact after a kill, readable errors."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medray.config import (
    Config,
    CorruptionConfig,
    DataConfig,
    LocaliserConfig,
    LoopConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
)
from medray.errors import ConfigError, RunFailed, UserError
from medray.rundir import METRIC_KEYS, RunDirectory


def config(output: Path, **sections: object) -> Config:
    run = RunConfig(name="r", output=str(output))
    return Config(run=run, data=DataConfig(kind="phantom"), **sections)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "r")
    run.create(config(tmp_path))
    return run


def test_create_makes_the_documented_layout(run: RunDirectory, tmp_path: Path) -> None:
    names = sorted(path.name for path in run.path.iterdir())
    assert names == ["checkpoints", "config.yaml", "eval", "ledger", "logs"]
    assert run.read_config() == config(tmp_path)
    assert "python" in run.read_versions()


def test_a_second_run_is_refused_and_changes_nothing(run: RunDirectory, tmp_path: Path) -> None:
    before = run.config_file.read_bytes()
    with pytest.raises(ConfigError, match=r"run\.name=r.*already holds a run.*--resume"):
        run.create(config(tmp_path, loop=LoopConfig(steps=99)))
    assert run.config_file.read_bytes() == before


def test_resume_says_which_packages_have_another_version(run: RunDirectory, tmp_path: Path) -> None:
    assert run.create(config(tmp_path), resume=True) == []
    before = run.read_versions() | {"torch": "2.0.0", "gone": "1"}
    (run.logs / "versions.json").write_text(json.dumps(before))
    (note,) = run.create(config(tmp_path), resume=True)
    assert note.startswith("other versions than at the last start: ")
    assert "torch 2.0.0 → " in note
    assert "gone 1 → none" in note


def test_resume_may_extend_a_run_but_not_change_its_data(run: RunDirectory, tmp_path: Path) -> None:
    run.create(config(tmp_path, loop=LoopConfig(steps=99)), resume=True)
    assert run.read_config().loop.steps == 99
    with pytest.raises(ConfigError, match=r"corruption\.sigma=9\.0.*corruption\.sigma=45\.0"):
        run.create(config(tmp_path, corruption=CorruptionConfig(sigma=9.0)), resume=True)
    tool = LocaliserConfig(kind="clipseg", path="elsewhere")
    with pytest.raises(ConfigError, match=r"localiser\.kind=clipseg.*localiser\.kind=None"):
        run.create(config(tmp_path, localiser=tool), resume=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"objective": ObjectiveConfig(name="dpo")},
        {"model": ModelConfig(dtype="float32")},
        {"model": ModelConfig(lora=LoraConfig(rank=3))},
        {"run": {"seed": 1}},
    ],
    ids=str,
)
def test_resume_refuses_another_objective_model_or_seed(run, tmp_path, changed) -> None:
    other = config(tmp_path)
    seed = changed.pop("run", {})
    run_section = other.run.model_copy(update=seed)
    with pytest.raises(ConfigError, match="was started with"):
        run.create(other.model_copy(update={**changed, "run": run_section}), resume=True)


def test_resume_compares_the_digests_of_what_the_run_started_from(tmp_path: Path) -> None:
    run, digests = RunDirectory(tmp_path / "r"), {"cases": "11", "model": "22"}
    run.create(config(tmp_path), digests=digests)
    run.create(config(tmp_path), resume=True, digests=digests)
    for other in ({**digests, "cases": "33"}, {**digests, "adapter": "44"}, {"cases": "11"}):
        with pytest.raises(ConfigError, match=r"the (cases|adapter|model): not the "):
            run.create(config(tmp_path), resume=True, digests=other)
    (run.logs / "inputs.json").unlink()  # of an earlier version
    run.create(config(tmp_path), resume=True, digests={"cases": "33"})


def test_resume_without_a_run_starts_one(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "r")
    run.create(config(tmp_path), resume=True)
    assert run.holds_run


def test_an_unwritable_output_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = config(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be written"):
        RunDirectory(settings.run_dir).create(settings)


def test_metrics_are_one_json_line_per_step(run: RunDirectory) -> None:
    line = {"t_step": np.float32(0.5), "loss": math.nan, "step": 1, "lr": math.inf, "extra": 7}
    run.append_metrics(line)
    run.append_metrics({"step": np.int64(2), "pairs_trained": 8})
    text = run.metrics_file.read_text()
    assert text.split("\n")[0] == (
        '{"step": 1, "loss": null, "lr": null, "t_step": 0.5, "extra": 7}'
    )
    assert "NaN" not in text
    assert run.read_metrics()[1] == {"step": 2, "pairs_trained": 8}
    assert len(METRIC_KEYS) == len(set(METRIC_KEYS)) == 26
    with pytest.raises(RunFailed):
        run.append_metrics({"loss": 1.0})


def test_a_line_cut_short_by_a_kill_is_ignored(run: RunDirectory) -> None:
    run.append_metrics({"step": 1})
    with run.metrics_file.open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.read_metrics() == [{"step": 1}]
    run.rewind(1)
    run.append_metrics({"step": 2})
    assert [line["step"] for line in run.read_metrics()] == [1, 2]


def test_a_malformed_line_is_named_in_the_error(run: RunDirectory) -> None:
    run.metrics_file.write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
        run.read_metrics()


def test_rewind_deletes_later_steps(run: RunDirectory) -> None:
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
    for step in (0, 2, 3):
        run.write_eval(step, {"n": 4})
    run.rewind(2)
    assert [line["step"] for line in run.read_metrics()] == [1, 2]
    assert list(run.read_evals()) == [0, 2]


def test_an_evaluation_keeps_its_answers(run: RunDirectory) -> None:
    answers = pa.table({"case_id": ["a", "b"], "answer": ["Yes", "No"]})
    for step in (0, 2, 10):
        run.write_eval(step, {"n": 2}, answers)
    assert pq.read_table(run.answers_file(2)) == answers
    assert list(run.read_evals()) == [0, 2, 10]  # answers are no evaluations
    names = sorted(path.name for path in run.eval.iterdir())
    assert names[:2] == ["step-000000.answers.parquet", "step-000000.json"]
    run.rewind(2)
    names = sorted(path.name for path in run.eval.iterdir())
    assert names == [
        *("step-000000.answers.parquet", "step-000000.json"),
        *("step-000002.answers.parquet", "step-000002.json"),
    ]


def test_answers_without_their_evaluation_are_rewound_and_written_again(run: RunDirectory) -> None:
    """A kill came between the two: the step counts as not evaluated."""
    table = pa.table({"answer": ["Yes"]})
    run.write_eval(3, {"n": 1}, table)
    (run.eval / "step-000003.json").unlink()
    assert run.read_evals() == {}
    run.write_eval(3, {"n": 2}, pa.table({"answer": ["No"]}))
    assert pq.read_table(run.answers_file(3))["answer"].to_pylist() == ["No"]
    run.rewind(0)
    assert list(run.eval.iterdir()) == []


def test_answers_are_complete_or_absent(run: RunDirectory, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fails)
    with pytest.raises(OSError, match="disk full"):
        run.write_eval(0, {"n": 1}, pa.table({"answer": ["Yes"]}))
    assert list(run.eval.iterdir()) == []


def test_evals_are_read_back_in_order(run: RunDirectory) -> None:
    run.write_eval(20, {"n": 512, "hallucination_rate": 0.1, "finding_f1": math.nan})
    run.write_eval(0, {"n": 512, "by_error_type": {"side": np.float64(0.25)}})
    assert run.read_evals() == {
        0: {"n": 512, "by_error_type": {"side": 0.25}},
        20: {"n": 512, "hallucination_rate": 0.1, "finding_f1": None},
    }
    assert json.loads((run.eval / "step-000020.json").read_text())["n"] == 512


def test_paths_that_are_not_runs_are_refused(run: RunDirectory, tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "absent", "no such directory"),
        (run.config_file, "is a file"),
        (run.eval, "not a run directory"),
    ):
        with pytest.raises(UserError, match=why) as caught:
            RunDirectory.open(path)
        assert caught.value.exit_code == 2
    assert RunDirectory.open(run.path).read_metrics() == []
