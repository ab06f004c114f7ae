"""`medray review`: the page and the key, the grades back, and one line for every error."""

from __future__ import annotations

import json
import sys

import pytest

from medray import cli
from medray.rundir import RunDirectory
from tests.unit.report.test_report import make_run
from tests.unit.review.review_files import grade, save


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return make_run(tmp_path / "runs", steps=2)


@pytest.fixture
def medray(monkeypatch, capsys):
    """Run `medray ARGUMENTS` and return its exit code, stdout and stderr."""
    for name in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "1")  # main() sets them: undone at the end

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["medray", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return command


def key_of(run: RunDirectory) -> tuple[str, dict]:
    (path,) = (run.path / "review").iterdir()
    return path.stem, json.loads(path.read_text())["pairs"]


def test_from_the_page_to_the_rates(run, tmp_path, medray):
    page = tmp_path / "review.html"
    code, out, err = medray("review", run.path, "-n", 6, "-o", page)
    assert (code, err) == (0, "")
    assert f"{page}: 6 pairs, to be given to readers" in out
    review, pairs = key_of(run)
    assert review in page.read_text()
    grades = [grade(name, entry["chosen"], True) for name, entry in pairs.items()]
    file = save(tmp_path / "a.json", review, grades, reader="Anna")
    code, out, _ = medray("review", run.path, "--read", file, "--json")
    summary = json.loads(out)
    assert code == 0
    assert summary["overall"]["accept_rate"] == summary["overall"]["reads_well"] == 1
    assert set(summary["by_error_type"]) == {"side", "size", "zone"}
    other = save(tmp_path / "b.json", review, grades, reader="Ben")
    code, out, _ = medray("review", run.path, "--read", file, "--read", other)
    assert code == 0
    assert "6 of 6 pairs graded by Anna, Ben" in out


def test_the_same_command_gives_the_same_page(run, tmp_path, medray):
    for name in ("one", "two"):
        assert medray("review", run.path, "-n", 5, "-o", tmp_path / f"{name}.html")[0] == 0
    assert (tmp_path / "one.html").read_text() == (tmp_path / "two.html").read_text()
    key_of(run)  # one key


def test_a_run_with_fewer_pairs_says_so(run, tmp_path, medray):
    _, out, _ = medray("review", run.path, "-o", tmp_path / "r.html", "--no-images")
    assert "14 pairs (the run has no more than 14)" in out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "needs either -o or --read"),
        (["-o", "r.html", "--read", "a.json"], "needs either -o or --read"),
        (["--read", "missing.json"], "missing.json"),
        (["-o", "missing/r.html"], "cannot be written"),
    ],
)
def test_errors_are_one_line(run, medray, monkeypatch, tmp_path, options, why):
    monkeypatch.chdir(tmp_path)
    code, out, err = medray("review", run.path, *options)
    assert (code, out) == (2, "")
    assert why in err
    assert err.count("\n") == 1
    assert not (run.path / "review").exists() or not any((run.path / "review").iterdir())


def test_no_run_and_no_pairs(run, tmp_path, medray):
    code, _, err = medray("review", tmp_path, "-o", tmp_path / "r.html")
    assert code == 2
    assert "not a run directory" in err
    for path in run.ledger.iterdir():
        path.unlink()
    code, _, err = medray("review", run.path, "-o", tmp_path / "r.html")
    assert code == 2
    assert "has no trained pair" in err
    assert not (tmp_path / "r.html").exists()
