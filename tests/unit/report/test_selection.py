"""Which rows of a ledger are found, against a search by hand over all of them."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from medray.cli.main import app
from medray.ledger import read_ledger
from medray.report import PairFilter, find_rows, read_rows
from medray.report.pairs import error_types
from medray.report.pairs.selection import evenly
from medray.rundir import RunDirectory
from tests.unit.report.test_report import EVIL, make_run

ALL = ("trained", "skipped", "dropped")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("run"))


def naive(run: RunDirectory, wanted: PairFilter) -> list[str]:
    """pair_id of the rows that match, in order of the ledger."""

    def matches(row: dict) -> bool:
        texts = [
            row[name] or "" for name in ("question", "response", "chosen", "case_id", "prefix")
        ]
        first, last = wanted.steps or (0, 10**9)
        return (
            row["status"] in wanted.statuses
            and first <= row["step"] <= last
            and (not wanted.error_types or bool({*error_types(row)} & {*wanted.error_types}))
            and (not wanted.reasons or (row["drop_reason"] or "").startswith(wanted.reasons))
            and (not wanted.answer or row["response_was_correct"] is (wanted.answer == "right"))
            and (wanted.min_loss is None or (row["loss"] or -1) >= wanted.min_loss)
            and (wanted.min_relevance is None or (row["relevance"] or 0) >= wanted.min_relevance)
            and (not wanted.by_token or row["chosen_tokens"] is not None)
            and (not wanted.text or any(wanted.text.lower() in text.lower() for text in texts))
        )

    return [row["pair_id"] for row in read_ledger(run.path).to_pylist() if matches(row)]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (PairFilter(), 42),
        (PairFilter(statuses=ALL), 48),
        (PairFilter(statuses=("dropped",)), 6),
        (PairFilter(steps=(2, 2)), 7),
        (PairFilter(steps=(2, 4), statuses=ALL), 24),
        (PairFilter(error_types=("side",)), 18),
        (PairFilter(error_types=("side", "zone"), steps=(1, 3)), 15),
        (PairFilter(statuses=ALL, reasons=("edit-too",)), 6),
        (PairFilter(statuses=ALL, reasons=("abstained",)), 0),
        (PairFilter(answer="wrong"), 42),
        (PairFilter(answer="right", statuses=ALL), 0),
        (PairFilter(min_relevance=0.8), 42),
        (PairFilter(min_relevance=2.0), 0),
        (PairFilter(min_loss=0.5), None),
        (PairFilter(text="HEART is normal"), 6),
        (PairFilter(text="apex. 3"), 6),
        (PairFilter(text="case-2", steps=(1, 2)), None),
        (PairFilter(text=".*"), 0),
        (PairFilter(by_token=True, statuses=ALL), 12),
    ],
)
def test_rows_are_found(run: RunDirectory, wanted: PairFilter, count: int | None) -> None:
    found = find_rows(run, wanted)
    ids = [row["pair_id"] for row in read_rows(run, found)]
    assert ids == naive(run, wanted)
    assert len(found) == len(ids) == (len(ids) if count is None else count)


def test_orders_and_limits(run: RunDirectory) -> None:
    found = find_rows(run, PairFilter(statuses=ALL))
    losses = [row["loss"] for row in read_rows(run, found.by("loss"))]
    known = [loss for loss in losses if loss is not None]
    assert known == sorted(known, reverse=True)
    assert losses[len(known) :] == [None] * 6
    top = list(read_rows(run, found.by("loss").first(3)))
    assert [row["loss"] for row in top] == known[:3]
    spread = list(read_rows(run, found.spread(6)))
    assert [row["step"] for row in spread] == [1, 2, 3, 4, 5, 6]
    assert len(found.spread(100)) == len(found.first(100)) == 48
    assert list(read_rows(run, found.take(np.arange(0)))) == []


def test_few_of_many_are_neighbours_in_even_places() -> None:
    some = evenly(np.arange(1_000_000), 640)
    assert len(some) == 640
    stretches = some.reshape(64, 10)
    assert (np.diff(stretches, axis=1) == 1).all()
    assert (np.diff(stretches[:, 0]) == 1_000_000 // 64).all()
    assert evenly(np.arange(9), 3).tolist() == [0, 4, 8]
    assert len(np.unique(evenly(np.arange(1_000_000), 12))) == 12
    assert 0 < len(np.unique(evenly(np.arange(1_000_000), 1600))) <= 1600


def test_a_run_without_rows(tmp_path) -> None:
    assert len(find_rows(RunDirectory(tmp_path), PairFilter(error_types=("side",), text="x"))) == 0


def pairs(run: RunDirectory, *options: str) -> str:
    done = CliRunner().invoke(app, ["pairs", str(run.path), *options], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_shows_all_pairs_and_filters_them(run: RunDirectory) -> None:
    assert pairs(run).endswith("42 rows\n")
    assert pairs(run, "--step", "2").count("· policy version 1 ·") == 7
    output = pairs(run, "--reason", "edit-too-large", "--limit", "2")
    assert output.count("dropped: edit-too-large") == 2
    assert "raise that limit if you want such edits" in output
    assert output.endswith("2 of 6 rows\n")
    assert pairs(run, "--status", "all").endswith("48 rows\n")
    assert pairs(run, "--type", "side", "--answer", "right") == "No such pairs.\n"


def test_a_step_that_is_none_is_refused(run: RunDirectory) -> None:
    done = CliRunner().invoke(app, ["pairs", str(run.path), "--step", "first"])
    assert done.exit_code != 0
    assert "--step first" in str(done.exception)


def test_the_page_holds_what_the_command_finds(run: RunDirectory, tmp_path) -> None:
    page = tmp_path / "pairs.html"
    pairs(run, "--html", str(page))
    assert page.read_text().count('<article class="pair"') == 42  # of all steps
    pairs(run, "--html", str(page), "--type", "side", "--step", "1-2", "--no-images")
    text = page.read_text()
    assert text.count('<article class="pair"') == 6
    assert "data:image" not in text
    pairs(run, "--html", str(page), "--sort", "loss", "--limit", "1")
    (best,) = read_rows(run, find_rows(run, PairFilter()).by("loss").first(1))
    assert f'data-loss="{best["loss"]}"' in page.read_text()


def test_hostile_texts_are_searched_as_text(tmp_path) -> None:
    run = make_run(tmp_path, steps=1, evil=True)
    assert len(find_rows(run, PairFilter(text=EVIL[:20]))) == 7
