"""report.html in Chromium: filtered, searched and sorted by keyboard; quiet, and fits everywhere.

Beyond `make test`, as all tests that start a browser: each takes seconds of two cores.
"""

from __future__ import annotations

import json
import re
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


def strip_number(browser: Browser) -> str:
    return browser.evaluate(
        "(() => { const line = document.getElementById('strip-number');"
        " return line.hidden ? '' : line.textContent; })()"
    )


def test_the_strip_is_read_by_keyboard_and_pointer(browser, run, tmp_path):
    """Numbers and tokens are those of the ledger, in order, however a token is cut by an edit."""
    page = report(run, tmp_path)
    browser.open(page)
    choose(browser, "tokens", "yes")
    until(browser, "12 of 48 · page 1 of 1")
    browser.evaluate("document.querySelector('#pair-list > :not([hidden]) .heat').focus()")
    (step, *_), (order, *_) = shown(browser, "step"), shown(browser, "order")
    assert order == "1"
    item = browser.evaluate("document.querySelector('#pair-list > :not([hidden])').textContent")
    rows = read_rows(run, find_rows(run, PairFilter(by_token=True, steps=(int(step), int(step)))))
    (row,) = [row for row in rows if row["case_id"] in item and row["rejected"][-8:] in item]
    numbers = []
    for token in row["chosen_tokens"]:
        words = row["chosen"][token["start"] : token["end"]].strip()
        number = f"{token['log_ratio']:+.2f}".replace("-", "−")
        for _ in range(2):  # the blank before an edited word is a piece of its own
            line = strip_number(browser)
            assert f"log π/π₀ {number}" in line, (line, token)
            browser.press("ArrowRight")
            if not words or words in line:
                break
        numbers.append(number)
    assert len(numbers) == len(row["chosen_tokens"])
    browser.press("Home")
    assert strip_number(browser).endswith(f"log π/π₀ {numbers[0]}")
    browser.press("Escape")
    assert strip_number(browser) == ""
    x, y = browser.evaluate(
        "(() => { const box = document.querySelector('#pair-list .rejected .heat i')"
        ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.wait_for("!document.getElementById('strip-number').hidden")
    first = f"{row['rejected_tokens'][0]['log_ratio']:+.2f}".replace("-", "−")
    assert strip_number(browser).endswith(f"log π/π₀ {first}")
    assert quiet(browser, page)


LINES = """(() => {
  const found = {};
  for (const mark of document.querySelectorAll('.strip-legend i')) {
    const style = getComputedStyle(mark);
    found[mark.className || 'unchanged'] = [
      style.borderBottomStyle, style.borderBottomWidth, style.borderBottomColor,
      getComputedStyle(mark.closest('#pairs')).backgroundColor];
  }
  return found;
})()"""


@pytest.mark.parametrize("look", ["light", "dark", "print"])
def test_the_strip_is_told_apart_without_colours(browser, run, tmp_path, look):
    """By one line or two, and by its thickness; and every line is seen on its background."""
    browser.look(1280, 900, dark=look == "dark")
    if look == "print":
        browser.call("Emulation.setEmulatedMedia", media="print")
    browser.open(report(run, tmp_path))
    lines = browser.evaluate(LINES)
    assert {name: line[0] for name, line in lines.items()} == {
        "m3": "double", "m2": "double", "m1": "double", "unchanged": "solid",
        "p1": "solid", "p2": "solid", "p3": "solid",
    }  # fmt: skip
    widths = {name: line[1] for name, line in lines.items()}
    assert widths["unchanged"] == "1px"
    assert [widths[f"{sign}{size}"] for sign in "pm" for size in (1, 2, 3)] == [
        "3px",
        "5px",
        "7px",
    ] * 2
    background = {"light": (255, 255, 255), "dark": (27, 32, 36), "print": (255, 255, 255)}[look]
    for name, line in lines.items():
        colour = tuple(int(part) for part in re.findall(r"\d+", line[2])[:3])
        assert contrast(colour, background) >= 3, (name, line)


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """As WCAG 2 defines it; 3 is enough for graphics."""

    def luminance(colour: tuple[int, ...]) -> float:
        parts = [part / 255 for part in colour]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
