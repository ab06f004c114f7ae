"""The site of the documentation: built as `make docs` builds it, and looked at in a browser."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from medray.config.reference import reference
from tests.support.browser import Browser, needs_chromium
from tests.support.paths import ROOT

PYTHON = ROOT / "build/docs-env/bin/python"
spec = importlib.util.spec_from_file_location("site_build", ROOT / "site/build.py")
assert spec is not None
assert spec.loader is not None
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if not PYTHON.exists():
        pytest.skip("Zensical is not installed: make build/docs-env")
    folder = tmp_path_factory.mktemp("docs")
    command = [str(PYTHON), str(ROOT / "site/build.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_the_page_of_keys_is_that_of_the_code():
    page = (ROOT / "docs/keys.md").read_text(encoding="utf-8")
    assert page == reference(), "python -m medray.config.reference > docs/keys.md"


def test_every_page_of_the_documentation_is_in_the_site(site):
    sources = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert sources | {"index", "security", "contributing", "changelog"} <= {
        path.stem for path in site.glob("*.html")
    }


@needs_chromium
def test_search_works_from_disk_and_nothing_is_fetched_from_elsewhere(site, tmp_path):
    browser = Browser(tmp_path)
    try:
        browser.open(site / "index.html")
        browser.wait_for("[...document.querySelectorAll('*')].some(e => e.shadowRoot)")
        browser.evaluate("document.querySelector('[for=__search]').click(), true")
        browser.wait_for("document.activeElement.shadowRoot?.activeElement?.tagName === 'INPUT'")
        browser.type("drained")
        found = "document.activeElement.shadowRoot.textContent"
        browser.wait_for(f"/Nodes that leave.*drained/.test({found})")
        assert browser.messages == []
        assert [r for r in browser.requests if not r.startswith(("file:", "data:", "about:"))] == []
    finally:
        browser.close()


@pytest.mark.parametrize(
    ("text", "fetched"),
    [
        ('<script src="https://a.org/x.js">', True),
        ("<img alt=x src=//a.org/x.png>", True),
        ('<link rel="stylesheet" href="https://a.org/x.css">', True),
        ("body { background: url(https://a.org/x.png) }", True),
        ('@import "https://a.org/x.css";', True),
        ('<a href="https://a.org">a link</a>', False),
        ('<script src="assets/x.js">', False),
        ('<img src="report.png">', False),
    ],
)
def test_what_a_page_would_fetch_is_found(text, fetched):
    assert bool(build.FETCHED.search(text)) is fetched


@pytest.mark.parametrize(
    ("folder", "text", "there"),
    [
        ("", "[a](docs/data.md#pairs)", "[a](data.md#pairs)"),
        ("docs", "[a](../SECURITY.md)", "[a](security.md)"),
        ("docs", "[a](data.md)", "[a](data.md)"),
        ("", "![a](docs/report.png)", "![a](report.png)"),
        ("", "[a](configs/vqa_rad.yaml)", "a"),
        ("docs", "[a](#here) [b](https://b.org)", "[a](#here) [b](https://b.org)"),
        ("", "```md\n[a](docs/data.md)\n```", "```md\n[a](docs/data.md)\n```"),
    ],
)
def test_links_are_those_of_the_site(folder, text, there):
    assert build.with_links(text, folder) == there


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path, monkeypatch):
    if not PYTHON.exists():
        pytest.skip("Zensical is not installed: make build/docs-env")
    (tmp_path / "site").mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("build.py", "worker.js"):
        (tmp_path / "site" / name).write_text((ROOT / "site" / name).read_text())
    (tmp_path / "site/mkdocs.yml").write_text(
        "site_name: x\ndocs_dir: pages\nsite_dir: site\nnav:\n  - x: index.md\n"
        "  - s: security.md\n  - c: contributing.md\n  - l: changelog.md\n"
    )
    for name in build.TOP:
        (tmp_path / name).write_text("# Title\n")
    (tmp_path / "README.md").write_text("# Title\n\n[gone](SECURITY.md#nowhere)\n")
    command = [str(PYTHON), str(tmp_path / "site/build.py"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "anchor does not exist" in done.stdout + done.stderr
