"""The page is complete, loads nothing, keeps hostile text as text, and is blind."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

import pytest

from medray.errors import DataError
from medray.ledger import read_ledger
from medray.review import Key, draw_pairs, write_page
from medray.rundir import RunDirectory
from tests.unit.report.test_report import EVIL, Loads, make_run
from tests.unit.review.review_files import make_review


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("review"), steps=4)


@pytest.fixture(scope="module")
def reviewed(run, tmp_path_factory) -> tuple[str, Key]:
    out = tmp_path_factory.mktemp("page") / "review.html"
    key = make_review(run, out, n=20)
    return out.read_text(encoding="utf-8"), key


def content_of(page: str, element: str) -> str:
    found = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)
    assert len(found) == 1
    return found[0]


def sides_of(page: str, pair: str) -> list[str]:
    article = re.search(rf'<article[^>]* data-pair="{pair}".*?</article>', page, re.S)
    assert article is not None
    texts = re.findall(r'<p class="text" dir="auto">(.*?)</p>', article[0], re.S)
    return [html.unescape(re.sub(r"</?mark>", "", text)) for text in texts]


def test_every_pair_is_shown_with_the_side_of_the_key(run, reviewed):
    page, key = reviewed
    rows = {row["pair_id"]: row for row in read_ledger(run.path).to_pylist()}
    assert page.count("<article ") == len(key.pairs) == 20
    for name, entry in key.pairs.items():
        row = rows[entry.pair_id]
        sides = dict(zip("AB", sides_of(page, name), strict=True))
        assert sides.pop(entry.chosen) == row["chosen"]
        assert list(sides.values()) == [row["rejected"]]
    assert page.count('src="data:image/png;base64,') == 20
    assert (
        '<span class="prefix">The heart is normal.</span> <span class="note">… and goes on' in page
    )  # the prefix of a sentence


def test_nothing_in_the_page_tells_the_sides_apart(run, reviewed):
    """Without the texts of the pairs, both sides of every pair are the same markup, and what the
    ledger says of them is nowhere."""
    page, key = reviewed
    for name in key.pairs:
        article = re.search(rf'<article[^>]* data-pair="{name}".*?</article>', page, re.S)
        assert article is not None
        plain = re.sub(r'(<p class="text" dir="auto">).*?(</p>)', r"\1\2", article[0], flags=re.S)
        sides = re.findall(r"<section.*?</section>", plain, re.S)
        assert len(sides) == 2
        assert sides[1] == sides[0].replace('"A"', '"B"').replace("Side A", "Side B").replace(
            "<h3>A", "<h3>B"
        )
    hidden = {"chosen", "rejected", "findings", "correct", "editor", "loss", "policy", "relevance"}
    ids = {row["pair_id"] for row in read_ledger(run.path).to_pylist()}
    cases = {row["case_id"] for row in read_ledger(run.path).to_pylist()}
    words = set(re.findall(r"[\w-]+", re.sub(r"base64,[^\"]*", "", page)))
    assert words & (hidden | ids | cases | {"synthetic"}) == set()
    own = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.S)  # they have sizes
    assert {"size", "zone"} & set(re.findall(r"[\w-]+", own)) == set()  # error types
    assert key.salt not in page


def test_marks_do_not_depend_on_which_side_is_chosen(run, tmp_path):
    rows, key = draw_pairs(run, 6, seed=0)
    exchanged = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    swapped = {
        name: type(entry)(
            entry.pair_id,
            entry.step,
            entry.error_type,
            "B" if entry.chosen == "A" else "A",
            entry.corrected,
        )
        for name, entry in key.pairs.items()
    }
    other = Key(swapped, key.trained, key.salt)
    write_page(run.path, rows, key, tmp_path / "one.html")
    write_page(run.path, exchanged, other, tmp_path / "other.html")
    one, two = ((tmp_path / f"{name}.html").read_text() for name in ("one", "other"))
    assert one.replace(key.id, "") == two.replace(other.id, "")


def test_the_policy_allows_this_script_and_style_only(reviewed):
    page, _ = reviewed
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    directives = dict(part.split(" ", 1) for part in html.unescape(policy[1]).split("; "))
    for element in ("script", "style"):
        digest = hashlib.sha256(content_of(page, element).encode()).digest()
        assert directives[f"{element}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert directives["default-src"] == directives["base-uri"] == "'none'"
    assert directives["img-src"] == "data:"
    assert_loads_nothing(page)


def assert_loads_nothing(page: str) -> None:
    loads = Loads()
    loads.feed(page)
    assert all(target.startswith("data:image/") for target in loads.targets)
    assert not loads.handlers
    assert loads.tags.count("script") == 1
    assert not {"iframe", "link", "object", "embed", "form"} & set(loads.tags)
    assert " style=" not in page
    script = content_of(page, "script")
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval|fetch|https?:", script)


def test_hostile_text_stays_text(tmp_path):
    run = make_run(tmp_path, steps=2, evil=True)
    key = make_review(run, tmp_path / "review.html", n=14)
    page = (tmp_path / "review.html").read_text()
    assert_loads_nothing(page)
    assert "&lt;script&gt;" in page
    for name, entry in key.pairs.items():
        sides = dict(zip("AB", sides_of(page, name), strict=True))
        assert sides["B" if entry.chosen == "A" else "A"] == EVIL  # shown, not lost


def test_controls_that_reorder_text_are_spelt_out(run, tmp_path):
    rows, key = draw_pairs(run, 1, seed=0)
    rows[0]["question"] = "Is it \u202eright\u202c or \u2067left?\x1b[2J"
    rows[0]["chosen"] += "\u200b\u2066"
    write_page(run.path, rows, key, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Is it [U+202E]right[U+202C] or [U+2067]left?[U+001B][2J" in page
    assert re.search("[\u202a-\u202e\u2060-\u2069\u200b\x1b]", page) is None


def test_a_page_without_images(run, tmp_path):
    rows, key = draw_pairs(run, 5, seed=0)
    assert write_page(run.path, rows, key, tmp_path / "r.html", images=False) == []
    assert "<img" not in (tmp_path / "r.html").read_text()


def test_a_missing_dataset_costs_the_images_only(tmp_path):
    run = make_run(tmp_path, steps=1)
    (tmp_path / "data" / "cases.jsonl").unlink()
    rows, key = draw_pairs(run, 5, seed=0)
    (note,) = write_page(run.path, rows, key, tmp_path / "r.html")
    assert "dataset could not be read" in note
    assert "right apex" in (tmp_path / "r.html").read_text().replace("<mark>", "").replace(
        "</mark>", ""
    )


def test_an_image_that_has_changed_is_not_shown(tmp_path):
    run = make_run(tmp_path, steps=1)
    rows, key = draw_pairs(run, 3, seed=0)
    rows[0]["image_sha256"] = "0" * 64
    assert write_page(run.path, rows, key, tmp_path / "r.html") == [
        "The image file has changed since the run."
    ]
    assert (tmp_path / "r.html").read_text().count("<img ") == 2


def test_neither_page_nor_key_if_one_cannot_be_written(run, tmp_path):
    rows, key = draw_pairs(run, 3, seed=77)
    with pytest.raises(DataError, match="cannot be written"):
        write_page(run.path, rows, key, tmp_path / "missing" / "r.html")
    assert not (run.path / "review" / f"{key.id}.json").exists()
    blocked = make_run(tmp_path / "other", steps=1)
    (blocked.path / "review").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cannot be written"):
        make_review(blocked, tmp_path / "r.html")
    assert not Path(tmp_path / "r.html").exists()
