"""Where a run goes within a Ray job, whose working directory is a copy that Ray deletes."""

from __future__ import annotations

import sys

import pytest

from medray import cli
from medray.cli.common import OF_A_RAY_JOB, require_lasting_output
from medray.errors import UserError


@pytest.mark.parametrize("variable", OF_A_RAY_JOB)
def test_a_relative_output_is_refused_at_once(monkeypatch, capsys, tmp_path, variable):
    monkeypatch.setenv(variable, "{}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("data: {kind: phantom}\n")
    monkeypatch.setattr(sys, "argv", ["medray", "launch", "c.yaml"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.strip() == (
        "medray: run.output = runs: is relative, and this is a Ray job: its working directory is a "
        "copy that Ray deletes — an absolute path on storage that all nodes share, such as "
        "run.output=/mnt/runs"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_an_absolute_output_is_not_and_neither_is_any_elsewhere(monkeypatch):
    monkeypatch.setenv(OF_A_RAY_JOB[0], "{}")
    require_lasting_output("run.output", "/mnt/runs")
    with pytest.raises(UserError):
        require_lasting_output("run.output", "runs")
    monkeypatch.delenv(OF_A_RAY_JOB[0])
    require_lasting_output("run.output", "runs")
