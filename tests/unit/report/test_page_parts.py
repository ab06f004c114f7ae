"""Sections of report.html that need more than a ledger: answers, another run, a log, a licence."""

from __future__ import annotations

import datetime as dt
import html
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from medray.cli.main import app
from medray.errors import DataError
from medray.ledger import read_ledger
from medray.report import write_pairs_page, write_report
from medray.report.pairs.rows import text_parts
from medray.report.pairs.token_strip import with_strip
from medray.report.pairs.wrong_answers import wrong_answers
from medray.report.progress import LOADING, ProgressLog
from medray.rundir import RunDirectory
from tests.unit.report.report_runs import make_long_run, write_answers
from tests.unit.report.test_report import assert_self_contained, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = make_run(tmp_path_factory.mktemp("run"), steps=4)
    write_answers(run)
    return run


def text_of(page: Path, section: str) -> str:
    """The text of a section, without its tags."""
    (part,) = re.findall(rf'<section id="{section}">(.*?)\n</section>', page.read_text(), re.S)
    words = re.sub(r"</?(?:strong|code|a|span)\b[^>]*>", "", part)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", words)).split())


def test_wrong_answers_after_training(run: RunDirectory, tmp_path: Path) -> None:
    found = wrong_answers(run, [0, 4], 2)
    assert found is not None
    assert (found.answers, found.wrong, found.again) == (4, 3, 1)
    assert [row["was_right"] for row in found.rows] == [True, False]
    page = write_report(run.path, out=tmp_path / "report.html")
    text = text_of(page, "wrong")
    assert "Of 4 answers at step 4, the editor's rules read 3 as wrong" in text
    assert "1 of them was right before training" in text
    assert text.count("right before") == 2  # and the one that was
    assert text.count("There is a nodule in the right apex.") == 3
    assert 'aria-label="Image of case case-' in page.read_text()


def test_evaluations_without_answers_have_no_such_section(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1)
    assert wrong_answers(run, [0, 1], 5) is None
    assert wrong_answers(run, [], 5) is None
    assert 'id="wrong"' not in write_report(run.path).read_text()


def test_against_another_run(run: RunDirectory, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", steps=4)
    write_answers(other, right=4)
    config = other.config_file.read_text()
    other.config_file.write_text(
        config.replace("lr: 1.0e-06", "lr: 0.1").replace("name: synthetic", "name: rival")
    )
    page = write_report(run.path, against=other.path, out=tmp_path / "report.html")
    assert_self_contained(page.read_text())
    text = text_of(page, "against")
    assert "rival (step 4) and this run (step 4)" in text
    assert "Compared answer by answer" in text
    assert re.search(r"Open answers: recall of the reference higher is better \d+ ", text)
    assert "By error type" in text
    assert "learner.lr 1e-06 0.1" in text
    assert "run.name" not in text
    assert 'id="against"' not in write_report(run.path, out=tmp_path / "alone.html").read_text()


def test_a_run_without_evaluation_cannot_be_compared_with(run, tmp_path) -> None:
    other = make_run(tmp_path, steps=1)
    for path in other.eval.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="has not been evaluated"):
        write_report(run.path, against=other.path, out=tmp_path / "report.html")


def test_without_images_none_leaves_its_place(run: RunDirectory, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", str(run.path), "--no-images", "-o", str(out)])
    assert done.exit_code == 0, done.output
    page = out.read_text()
    assert "data:image" not in page
    assert page.count('<article class="pair"') == 32
    assert 'class="frame"' not in page


def test_the_log_tells_the_wall_time(run: RunDirectory, tmp_path: Path) -> None:
    begin = dt.datetime(2026, 3, 4, 5, 6, tzinfo=dt.UTC)
    log = ProgressLog(run.logs / "progress.log", begin)
    for seconds, line in ((20, LOADING), (60, "evaluating step 0"), (120, "report")):
        log.write(line, begin + dt.timedelta(seconds=seconds))
    try:
        text = text_of(write_report(run.path, out=tmp_path / "report.html"), "time")
    finally:
        log.path.unlink()
    assert "2 min 0 s in total; from 4 March 2026, 05:06" in text
    assert "start Ray, and the model in every actor 1 min 0 s 50.0 %" in text
    assert "without the start" in text_of(write_report(run.path, out=tmp_path / "r.html"), "time")


def test_origin_and_drops(run: RunDirectory, tmp_path: Path) -> None:
    (run.logs / "inputs.json").write_text('{"cases": "c0ffee"}')
    page = write_report(run.path, out=tmp_path / "report.html")
    configuration = text_of(page, "configuration")
    assert "sha256 of the cases c0ffee" in configuration
    assert "licence of the data not stated (16 cases)" in configuration
    assert "loop.steps 4 20" in configuration
    assert str(tmp_path.parent) not in page.read_text()
    ledger = text_of(page, "ledger")
    assert "edit-too-large more than editor.max_edit_fraction of the words would change" in ledger
    assert "raise that limit if you want such edits 4 12.5 %" in ledger


def test_a_long_run_is_thinned_out_evenly(tmp_path: Path) -> None:
    run = make_long_run(tmp_path, steps=50, of_step=60)
    page = write_report(run.path).read_text()
    steps = [int(step) for step in re.findall(r'data-order="\d+" data-step="(\d+)"', page)]
    assert len(steps) == 2000
    assert {*steps} == {*range(1, 52)}
    assert page.count('data-status="dropped"') == 400
    assert "2,000 of 3,008, evenly from the entire run" in page
    assert len(page.encode()) < 20_000_000


def test_a_page_without_room_for_all_images_says_so(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("medray.report.pairs.page.PICTURE_ROOM", 30_000)
    page = write_pairs_page(run.path, tmp_path / "pairs.html").read_text()
    assert 0 < page.count("data:image") < 10
    assert "There was not room for all images" in page
    monkeypatch.undo()
    page = write_pairs_page(run.path, tmp_path / "pairs.html").read_text()
    assert "not room" not in page


def strip(text: str, spans: list[tuple[int, int]], *tokens: tuple[int, int, float | None]):
    """(text, is edited, [(token, class, number)]) of each part."""
    marks = [
        {"start": a, "end": b, "error_type": "side", "severity": 1.0, "reason": ""}
        for a, b in spans
    ]
    rows = [{"start": a, "end": b, "log_ratio": value} for a, b, value in tokens]
    return [
        (part.text, part.edited, [(p.text, p.level, p.number) for p in part.pieces])
        for part in with_strip(text_parts(text, marks), rows)
    ]


def test_a_token_is_cut_where_an_edit_begins() -> None:
    tokens = ((0, 1, 0.01), (1, 7, -0.3), (7, 12, 1.5), (12, 12, 0.06))
    assert strip("A left apex.", [(2, 6)], *tokens) == [
        ("A ", False, [("A", "", "+0.01"), (" ", "m2", "−0.30")]),
        ("left", True, [("left", "m2", "−0.30")]),
        (" apex.", False, [(" ", "m2", "−0.30"), ("apex.", "p3", "+1.50")]),
        ("", False, [("", "p1", "+0.06")]),
    ]


def test_tokens_of_one_character_are_shown_as_one() -> None:
    """A character of three tokens has the sum of their log-ratios; one that is not finite, none."""
    tokens = ((0, 1, 0.2), (0, 1, 0.1), (0, 1, -0.5), (1, 2, None))
    assert strip("肺x", [], *tokens) == [
        ("肺x", False, [("肺", "m1", "−0.20"), ("x", "none", "not finite")])
    ]


def test_insertions_and_texts_that_no_token_holds_stay() -> None:
    assert strip("ab", [(1, 1)], (0, 1, 0.0)) == [
        ("a", False, [("a", "", "+0.00")]),
        ("", True, []),
        ("b", False, [("b", "", "")]),
    ]
    assert strip("ab", [(1, 1)]) == [("a", False, []), ("", True, []), ("b", False, [])]


def test_the_strip_of_a_page_holds_the_ledger_s_numbers(run: RunDirectory, tmp_path: Path) -> None:
    rows = [row for row in read_ledger(run.path).to_pylist() if row["chosen_tokens"]]
    assert len(rows) == 8
    page = write_report(run.path, out=tmp_path / "report.html").read_text()
    assert "log π/π₀ in nats" in page
    assert page.count('data-tokens="yes"') == len(rows)
    titles = re.findall(r'<p class="text heat" dir="auto">(.*?)</p>', page)
    assert len(titles) == 2 * len(rows)
    # A token that is cut at an edit has its number twice: on the blank before the word, and on it.
    pieces = r'<i[^>]* title="(\S\d+\.\d\d)[^"]*">(?! </i>)'
    numbers = [re.findall(pieces, side) for side in titles]
    expected = [
        [f"{token['log_ratio']:+.2f}".replace("-", "−") for token in row[f"{side}_tokens"]]
        for row in rows
        for side in ("chosen", "rejected")
    ]
    assert sorted(numbers) == sorted(expected)


def test_a_run_of_an_earlier_version_has_no_strip(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=2)
    for path in run.ledger.iterdir():
        table = pq.read_table(path)
        old = table.drop_columns(["chosen_tokens", "rejected_tokens"])
        pq.write_table(old, path)
    pages = write_report(run.path), write_pairs_page(run.path, tmp_path / "pairs.html")
    for page in pages:
        text = page.read_text()
        assert text.count('<article class="pair"') > 10
        for part in ('"heat', ' heat"', "log π/π₀ in nats", 'data-filter="tokens"'):
            assert part not in text
        assert_self_contained(text)
