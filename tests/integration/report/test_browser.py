"""report.html in Chromium: filtered, searched and sorted by keyboard; quiet, and fits everywhere.

Beyond `make test`, as all tests that start a browser: each takes seconds of two cores.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from medray.report import PairFilter, find_rows, read_rows, write_pairs_page, write_report
from medray.report.pairs import error_types
from medray.rundir import RunDirectory
from tests.integration.review.test_browser import CONTRAST
from tests.support.browser import Browser, needs_chromium
from tests.unit.report.report_runs import make_long_run, write_answers
from tests.unit.report.test_report import make_run

pytestmark = [pytest.mark.chaos, needs_chromium]


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "browser")
    browser.look(1280, 900)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    run = make_run(tmp_path_factory.mktemp("runs"), steps=6)
    write_answers(run)
    return run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> RunDirectory:
    run = make_run(tmp_path_factory.mktemp("runs"), steps=3, evil=True)
    write_answers(run, evil=True)
    return run


def report(run: RunDirectory, tmp_path: Path) -> Path:
    return write_report(run.path, out=tmp_path / "report.html")


def count(browser: Browser) -> str:
    return browser.evaluate("document.getElementById('pair-count').textContent")


def shown(browser: Browser, attribute: str) -> list[str]:
    """An attribute of every pair that is on the page now, in order."""
    return browser.evaluate(
        "[...document.querySelectorAll('#pair-list > :not([hidden])')]"
        f".map((pair) => pair.dataset.{attribute})"
    )


def choose(browser: Browser, name: str, value: str) -> None:
    """Set a field of the filter as a person does."""
    browser.evaluate(
        f"""(() => {{
          const field = document.querySelector('[data-filter="{name}"]');
          field.value = {json.dumps(value)};
          field.dispatchEvent(new Event('input', {{ bubbles: true }}));
        }})()"""
    )


def until(browser: Browser, text: str) -> None:
    browser.wait_for(f"document.getElementById('pair-count').textContent === {json.dumps(text)}")


def quiet(browser: Browser, page: Path) -> bool:
    """No message, no error, no violation of the policy, and no load but the page and its images."""
    expected = (page.as_uri(), "data:image/")
    return not browser.messages and all(a.startswith(expected) for a in browser.requests)


def test_the_filter_finds_what_the_command_finds(browser, run, tmp_path):
    page = report(run, tmp_path)
    browser.open(page)
    assert count(browser) == "48 of 48 · page 1 of 4"
    rows = list(read_rows(run, find_rows(run, PairFilter())))
    choose(browser, "type", "side")
    of_side = [row for row in rows if "side" in error_types(row)]
    until(browser, f"{len(of_side)} of 48 · page 1 of 2")
    assert all("side" in types.split() for types in shown(browser, "types"))
    choose(browser, "first", "2")
    choose(browser, "last", "3")
    until(browser, f"{sum(2 <= row['step'] <= 3 for row in of_side)} of 48 · page 1 of 1")
    assert {*shown(browser, "step")} == {"2", "3"}
    choose(browser, "relevance", "9")
    until(browser, "0 of 48 · page 1 of 1")
    browser.evaluate("document.getElementById('pair-reset').click()")
    until(browser, "48 of 48 · page 1 of 4")
    choose(browser, "outcome", "edit-too-large")
    until(browser, "6 of 48 · page 1 of 1")
    assert {*shown(browser, "status")} == {"dropped"}
    choose(browser, "answer", "right")
    until(browser, "0 of 48 · page 1 of 1")
    assert quiet(browser, page)


def test_sorted_by_loss_and_relevance(browser, run, tmp_path):
    browser.open(report(run, tmp_path))
    choose(browser, "sort", "-loss")
    browser.wait_for("document.querySelector('#pair-list > :not([hidden])').dataset.loss > 0.9")
    losses = [float(loss) for loss in shown(browser, "loss")]
    best = [
        row["loss"] for row in read_rows(run, find_rows(run, PairFilter()).by("loss").first(12))
    ]
    assert losses == best
    choose(browser, "sort", "loss")
    browser.wait_for("document.querySelector('#pair-list > :not([hidden])').dataset.loss < 0.5")
    lowest = [float(loss) for loss in shown(browser, "loss")]
    assert lowest == sorted(lowest)
    browser.press("n", "n", "n")
    assert count(browser) == "48 of 48 · page 4 of 4"
    assert shown(browser, "loss")[-6:] == [""] * 6  # dropped answers have none


def test_by_keyboard(browser, run, tmp_path):
    page = report(run, tmp_path)
    browser.open(page)
    browser.press("/")
    browser.type("HEART  is normal")
    until(browser, "6 of 48 · page 1 of 1")
    browser.press("n")  # a letter of the search
    until(browser, "0 of 48 · page 1 of 1")
    browser.press("Escape")
    assert browser.evaluate("document.activeElement === document.body")
    browser.evaluate("document.getElementById('pair-reset').click()")
    until(browser, "48 of 48 · page 1 of 4")
    browser.press("n")
    assert count(browser) == "48 of 48 · page 2 of 4"
    browser.press("j", "j", "k", "j")
    number = "Number(document.activeElement.dataset.order)"
    assert browser.evaluate(number) == 14
    browser.press("p", "p", "p")
    assert count(browser) == "48 of 48 · page 1 of 4"
    assert quiet(browser, page)


def test_a_reason_leads_to_its_answers(browser, run, tmp_path):
    browser.open(report(run, tmp_path))
    browser.evaluate("document.querySelector('[data-outcome]').click()")
    until(browser, "6 of 48 · page 1 of 1")


def test_without_scripts_everything_is_shown(browser, run, tmp_path):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    page = report(run, tmp_path)
    browser.open(page)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert len(shown(browser, "step")) == 48
    assert browser.evaluate("document.getElementById('pair-filter').hidden")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [420, 1280])
def test_it_fits_and_can_be_read(browser, hostile, tmp_path, width, dark):
    page = report(hostile, tmp_path)
    browser.look(width, 900, dark=dark)
    browser.open(page)
    browser.evaluate(
        "for (const details of document.querySelectorAll('details')) details.open = true"
    )
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    ratio = browser.evaluate(CONTRAST)
    assert ratio >= 4.5, ratio
    assert quiet(browser, page)


def test_hostile_texts_stay_texts(browser, hostile, tmp_path):
    for page in (
        report(hostile, tmp_path),
        write_pairs_page(hostile.path, tmp_path / "pairs.html"),
    ):
        browser.requests.clear()
        browser.open(page)
        assert browser.evaluate("document.querySelectorAll('script').length") == 1
        assert (
            browser.evaluate("document.querySelectorAll('img, iframe, #pair-list script').length")
            == 0
        )
        shown_text = browser.evaluate("document.body.textContent")
        assert "<script>alert('x')</script>" in shown_text
        assert not {*"\u202e\u2028\u2066\x1b"} & {*shown_text}
        browser.press("/")
        browser.type("<script>alert")
        browser.wait_for("!document.getElementById('pair-count').textContent.startsWith('0 of')")
        assert quiet(browser, page)


def test_two_thousand_pairs_are_quick(browser, tmp_path):
    run = make_long_run(tmp_path / "runs")
    page = report(run, tmp_path)
    assert page.stat().st_size < 20_000_000
    begin = time.monotonic()
    browser.open(page)
    opened = time.monotonic() - begin
    assert count(browser) == "2,000 of 2,000 · page 1 of 167"
    begin = time.monotonic()
    choose(browser, "sort", "-loss")
    browser.wait_for("document.querySelector('#pair-list > :not([hidden])').dataset.loss > 0.99")
    took = time.monotonic() - begin
    print(f"{page.stat().st_size / 1e6:.1f} MB, opened in {opened:.1f} s, sorted in {took:.2f} s")
    choose(browser, "text", "case-1 ")
    browser.wait_for("!document.getElementById('pair-count').textContent.startsWith('2,000')")
    assert quiet(browser, page)
