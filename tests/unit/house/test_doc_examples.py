"""The Python examples of the docs give what they show."""

from __future__ import annotations

import doctest

import pytest

from tests.support.paths import ROOT
from tests.unit.report.test_report import make_run

PAGES = ("first-experiment", "python-api")


@pytest.mark.parametrize("page", PAGES)
def test_examples(tmp_path, monkeypatch, page):
    """In a folder that holds the run which a page reads."""
    make_run(tmp_path / "runs", steps=2)
    monkeypatch.chdir(tmp_path)
    path = str(ROOT / f"docs/{page}.md")
    failed, count = doctest.testfile(path, module_relative=False, optionflags=doctest.ELLIPSIS)
    assert count > 3
    assert failed == 0
