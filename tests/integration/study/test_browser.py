"""The page of a study in Chromium: quiet, offline, and as wide as the window."""

from __future__ import annotations

import pytest

from medray.study.page import write_page
from tests.support.browser import Browser, needs_chromium
from tests.unit.study.conftest import comparisons, groups, results, study
from tests.unit.study.test_page import STARTS

__all__ = ["comparisons", "groups", "results", "study"]  # fixtures

pytestmark = [pytest.mark.chaos, needs_chromium]  # a browser of its own


def test_the_page_fits_every_window_and_loads_nothing(study, results, comparisons, tmp_path):
    page = write_page(study, results, comparisons, STARTS)
    browser = Browser(tmp_path / "browser")
    try:
        browser.open(page)
        for width, dark in ((1200, False), (1200, True), (420, False)):
            browser.look(width, 900, dark=dark)
            browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            content = browser.evaluate("document.documentElement.scrollWidth")
            assert content <= width
            drawn = "[...document.querySelectorAll('.forest .value')].map(m => m.getBBox().width)"
            assert min(browser.evaluate(drawn)) > 0
        assert browser.messages == []
        assert browser.requests == [page.resolve().as_uri()]
    finally:
        browser.close()
