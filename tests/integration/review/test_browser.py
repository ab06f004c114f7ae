"""The page of `medray review` in Chromium: graded by keyboard, saved, read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medray.data.dataset import open_dataset
from medray.evaluation.metrics import score_answers
from medray.review import draw_answers, read_grades, summarise, summarise_answers, write_page
from tests.support.browser import Browser, needs_chromium
from tests.unit.report.test_report import make_run
from tests.unit.review.review_files import make_review

pytestmark = [pytest.mark.chaos, needs_chromium]
HOSTILE = '<img src=x onerror=alert(1)> "\u202e" \U0001f600'


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "browser")
    yield browser
    browser.close()


@pytest.fixture
def review(tmp_path):
    run = make_run(tmp_path / "runs", steps=3, evil=True)
    page = tmp_path / "review.html"
    return run, make_review(run, page, n=8), page


def position(browser: Browser) -> str:
    return browser.evaluate("document.getElementById('position').textContent")


def quiet(browser: Browser, page: Path) -> bool:
    """No message or error, and nothing loaded but the page, its images and what it saved."""
    expected = (page.as_uri(), "data:image/", "blob:")
    return not browser.messages and all(a.startswith(expected) for a in browser.requests)


def test_graded_by_keyboard_saved_and_read_back(browser, review):
    run, key, page = review
    browser.open(page)
    assert position(browser) == "Pair 1 of 8 · 0 answered"
    chosen = [entry.chosen.lower() for entry in key.pairs.values()]
    rejected = ["b" if side == "a" else "a" for side in chosen]
    browser.press("ArrowLeft", chosen[0], "y", "ArrowRight")  # there is nothing before the first
    browser.press(rejected[1], chosen[1], "n", "c")  # another answer replaces the first
    browser.type(HOSTILE)
    browser.press("a", "Escape", "ArrowRight")  # a letter of the comment
    browser.press(rejected[2], "y", "ArrowRight", "2", "n", "ArrowRight", "0", "y", "ArrowRight")
    browser.press("x", "ArrowRight", "a", "a", "ArrowRight")  # pressed again: taken back
    browser.press(chosen[7], "ArrowLeft", "ArrowLeft", "ArrowRight", "u")
    assert position(browser) == "Pair 8 of 8 · 6 answered"  # does it read well?
    browser.press("y", "u")
    assert position(browser) == "Pair 7 of 8 · 7 answered"
    browser.press("s")
    browser.type("Änne <b>")
    browser.press("Enter")
    file = browser.downloaded()
    assert file.name == f"review-{key.id}-Änne-b.json"
    assert quiet(browser, page)

    saved_key, grades = read_grades(run.path, [file])
    assert saved_key == key
    outcomes = [pair["outcome"] for pair in summarise(key, grades)["pairs"]]
    assert outcomes == [
        *("chosen", "chosen", "rejected", "both", "neither", "cannot tell", None, "chosen")
    ]
    given = grades["Änne <b>"]
    names = list(key.pairs)
    assert given[names[1]].comment == f"{HOSTILE}a"
    assert [given[name].reads_well for name in names if name in given] == [
        *(True, False, True, False, None, None, True)
    ]


def test_answers_are_kept_until_they_are_cleared(browser, review):
    _, _, page = review
    browser.open(page)
    browser.press("a", "y", "ArrowRight", "0")
    browser.open(page)
    assert position(browser) == "Pair 1 of 8 · 2 answered"
    assert browser.evaluate("document.getElementById('unkept').hidden")
    browser.evaluate("window.confirm = () => true")
    browser.evaluate("document.getElementById('clear').click()")
    browser.open(page)
    assert position(browser) == "Pair 1 of 8 · 0 answered"
    assert quiet(browser, page)


def test_a_browser_that_keeps_nothing_still_saves(browser, review):
    run, _, page = review
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }});"
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=refuse)
    browser.open(page)
    assert not browser.evaluate("document.getElementById('unkept').hidden")
    browser.press("b", "n", "s", "Enter")
    file = browser.downloaded()
    assert len(json.loads(file.read_text())["grades"]) == 1
    read_grades(run.path, [file])
    assert quiet(browser, page)


@pytest.mark.parametrize("evaluations", [1, 2])
def test_answers_are_graded_by_keyboard(browser, tmp_path, evaluations):
    """One answer a card has other buttons than two sides; what they say is read back alike."""
    run, page = make_run(tmp_path / "runs", steps=2, evil=True), tmp_path / "answers.html"
    heldout = open_dataset(run.read_config().data).heldout
    texts = (HOSTILE, "There is a nodule.")
    sides = [
        (f"evaluation {i}", score_answers(heldout, {case.case_id: text for case in heldout}))
        for i, text in enumerate(texts[:evaluations])
    ]
    rows, key = draw_answers(sides, 3, 0, "")
    write_page(run.path, rows, key, page)
    browser.open(page)
    noun = "Answer" if evaluations == 1 else "Pair"
    assert position(browser) == f"{noun} 1 of 3 · 0 answered"
    first = [entry.first.lower() for entry in key.pairs.values()]
    browser.press(first[0], "y", "ArrowRight", "0", "ArrowRight", "b", "2")
    expected = 2 if evaluations == 1 else 3  # a single answer has neither B nor both
    if evaluations == 2:
        browser.press("n")
    assert position(browser) == f"{noun} 3 of 3 · {expected} answered"
    browser.press("s", "Enter")
    file = browser.downloaded()
    assert quiet(browser, page)
    summary = summarise_answers(*read_grades(run.path, [file]))
    rates = [found["overall"] for found in summary["evaluations"]]
    assert [found["answers"] for found in rates] == [expected] * evaluations
    assert rates[0]["accept_rate"] == pytest.approx(1 / 2 if evaluations == 1 else 2 / 3)
    for width in (420, 1280):
        browser.look(width, 900, dark=False)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate(CONTRAST) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [420, 1280])
def test_it_fits_and_can_be_read(browser, review, width, dark):
    _, _, page = review
    browser.look(width, 900, dark=dark)
    browser.open(page)
    for _ in range(8):
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.press("ArrowRight")
    ratio = browser.evaluate(CONTRAST)
    assert ratio >= 4.5, ratio
    assert quiet(browser, page)


# The lowest contrast of a text with what is behind it, as WCAG defines it.
CONTRAST = """(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3)
    .map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const rgb = parse(getComputedStyle(at).backgroundColor);
      if (rgb.length === 3 || rgb[3] === 1) return rgb;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("main *, header *")].filter((node) =>
    node.checkVisibility() && !node.closest(".off, :disabled, dialog") &&
    [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  return Math.min(...texts.map((node) => {
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()"""
