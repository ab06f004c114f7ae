"""Grades read back: rates derived by hand, and every file that must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from medray.errors import DataError
from medray.review import Key, read_grades, summarise, summary_table
from medray.review.key import KeyEntry, write_key
from tests.unit.report.test_report import make_run
from tests.unit.review.review_files import checksum, grade, make_review, save

OTHER = {"A": "B", "B": "A"}
# Six pairs: four of sides (of 30 trained), two of sizes (of 10); A, B, A, B, A, B are chosen.
KEY = Key(
    {
        f"id{i}": KeyEntry(f"p{i}", 1 + i, "side" if i < 4 else "size", "AB"[i % 2], i < 3)
        for i in range(6)
    },
    {"side": 30, "size": 10, "zone": 7},
    "0" * 64,
)


def answers(*rights: str | None, well: bool | None = None) -> list[dict]:
    """Grades of the first pairs; "chosen" and "rejected" become the side that it is."""
    grades = []
    for (name, entry), right in zip(KEY.pairs.items(), rights, strict=False):
        if right == "chosen":
            grades.append(grade(name, entry.chosen, well))
        elif right == "rejected":
            grades.append(grade(name, OTHER[entry.chosen], well))
        elif right is not None:
            grades.append(grade(name, right))
    return grades


@pytest.fixture
def run(tmp_path) -> Path:
    write_key(tmp_path, KEY)
    return tmp_path


def read(run: Path, *files: Path) -> dict:
    summary = summarise(*read_grades(run, files))
    json.dumps(summary, allow_nan=False)
    return summary


def test_rates_of_one_reader_by_hand(run):
    grades = answers("chosen", "chosen", "rejected", "both", "cannot tell")
    grades[0]["reads_well"], grades[1]["reads_well"] = True, False
    grades[2]["reads_well"] = True  # of the other side: says nothing of the chosen one
    summary = read(run, save(run / "a.json", KEY.id, grades, reader="Anna"))
    assert (summary["drawn"], summary["graded"]) == (6, 5)
    overall = summary["overall"]
    assert overall["interval"] == pytest.approx([0.11762, 0.76928], abs=2e-5)  # 2 of 5
    del overall["interval"]
    assert overall == {
        "pairs": 5,
        "accept_rate": 0.4,
        "rejected": 0.2,
        "both": 0.2,
        "neither": 0.0,
        "cannot_tell": 0.2,
        "split": 0.0,
        "reads_well": 0.5,
    }
    assert {k: v["accept_rate"] for k, v in summary["by_error_type"].items()} == {
        "side": 0.5,
        "size": 0.0,
    }
    assert {k: (v["pairs"], v["accept_rate"]) for k, v in summary["by_edit"].items()} == {
        "corrected answer": (3, 2 / 3),
        "error introduced": (2, 0.0),
    }
    assert summary["agreement"] is None
    # A side stands for 30/4 pairs, a size for 10: (2 · 7.5)/40; Kish: 40² / (4 · 7.5² + 10²)
    expected = summary["trained_pairs"]
    assert (expected["pairs"], expected["accept_rate"]) == (40, pytest.approx(0.375))
    n, z2 = 1600 / 325, 1.959964**2
    centre = (0.375 + z2 / (2 * n)) / (1 + z2 / n)
    assert sum(expected["interval"]) / 2 == pytest.approx(centre)


def test_a_pair_counts_once_whoever_many_graded_it(run):
    rights = {
        "Anna": ("chosen", "chosen", "rejected", "chosen", None, "both"),
        "Ben": ("chosen", "rejected", "rejected", "chosen", None, "both"),
        "Cem": ("chosen", "chosen", "neither", None, None, None),
    }
    files = [save(run / name, KEY.id, answers(*r), reader=name) for name, r in rights.items()]
    summary = read(run, *files)
    # chosen, chosen (two of three), rejected (two of three), chosen, –, both
    assert summary["graded"] == 5
    assert [pair["outcome"] for pair in summary["pairs"]] == [
        *("chosen", "chosen", "rejected", "chosen", None, "both")
    ]
    assert summary["overall"]["accept_rate"] == 3 / 5
    assert {k: v["pairs"] for k, v in summary["by_reader"].items()} == {
        "Anna": 5,
        "Ben": 5,
        "Cem": 3,
    }
    assert summary["agreement"]["method"] == "Krippendorff's alpha"
    assert summary["agreement"]["pairs"] == 5


def test_two_readers_who_differ_are_split_and_have_a_kappa(run):
    """In the sides as shown, Anna: A B B B both, Ben: A A B B both (and one pair for himself).
    Observed 4/5; by chance (A 1·2 + B 3·2 + both 1·1)/25 = 9/25; kappa = (20 − 9)/(25 − 9)."""
    anna = answers("chosen", "chosen", "rejected", "chosen", "both")
    ben = answers("chosen", "rejected", "rejected", "chosen", "both", "neither")
    summary = read(
        run,
        save(run / "a", KEY.id, anna, reader="Anna"),
        save(run / "b", KEY.id, ben, reader="Ben"),
    )
    assert summary["overall"]["split"] == pytest.approx(1 / 6)
    assert summary["pairs"][1]["outcome"] == "split"
    found = summary["agreement"]
    assert (found["method"], found["pairs"]) == ("Cohen's kappa", 5)
    assert found["value"] == pytest.approx(11 / 16)
    assert found["equal"] == pytest.approx(0.8)


def test_text_reads_well_if_most_say_so_who_judged_it(run):
    first = [save(run / f"{i}", KEY.id, answers("chosen", well=w), reader=str(i))
             for i, w in enumerate((True, True, False))]  # fmt: skip
    assert read(run, *first)["overall"]["reads_well"] == 1
    assert read(run, first[0], first[2])["overall"]["reads_well"] == 0  # half is not most


def test_readers_without_a_name_are_numbered(run):
    files = [
        save(run / "a", KEY.id, answers("chosen")),
        save(run / "b", KEY.id, answers("rejected")),
    ]
    assert list(read(run, *files)["by_reader"]) == ["reader 1", "reader 2"]


def test_a_comment_alone_is_no_answer(run):
    grades = [*answers("chosen"), grade("id3", None, None, "blurred")]
    summary = read(run, save(run / "a", KEY.id, grades, reader="Anna"))
    assert summary["graded"] == 1
    assert summary["pairs"][3]["answers"]["Anna"] == {
        "right": None,
        "reads_well": None,
        "comment": "blurred",
    }
    assert summary["pairs"][3]["step"] == 4


def test_the_table_shows_rates_and_what_to_look_at(run):
    grades = answers("chosen", "rejected", "neither", "chosen")
    grades[0]["comment"] = "[bold]fine[/bold] \x1b[2J \u202e :smile:"
    text = shown(read(run, save(run / "a", KEY.id, grades, reader="[red]An\nna[/red]")))
    assert "4 of 6 pairs graded by [red]An na[/red]" in text
    assert "50.0 %" in text
    assert "15.0–85.0 %" in text  # 2 of 4
    assert "[bold]fine[/bold] [U+001B][2J [U+202E] :smile:" in text
    assert "step 2  p1  side: rejected" in text
    assert "step 3  p2  side: neither" in text
    assert "p3" not in text
    assert "\x1b" not in text
    two = read(run, run / "a", save(run / "b", KEY.id, answers("chosen", "rejected"), reader="B"))
    assert "agreement on 2 shared pairs: 100.0 % of answers equal, all of them the same" in shown(
        two
    )


def shown(summary: dict) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(summary))
    return console.export_text()


def refused(run: Path, *files: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_grades(run, files)
    assert caught.value.exit_code == 2
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(files[-1]))
    return line


def test_files_that_are_not_grades(run):
    file = run / "f.json"
    assert "No such file" in refused(run, file)
    contents = {
        "": "is not JSON",
        "{": "is not JSON",
        "[" * 100_000: "is not JSON",
        "[]": "is not a file of grades",
        '{"review": "x"}': "is not a file of grades",
    }
    for content, why in contents.items():
        file.write_text(content)
        assert why in refused(run, file)
    file.write_bytes(b"\xff\xfe\x00")
    assert "is not JSON" in refused(run, file)
    save(file, KEY.id, [{**grade("id0", "C"), "more": 1}])
    assert "grades.0.right" in refused(run, file)


def test_a_changed_file(run):
    file = save(run / "a.json", KEY.id, answers("chosen", "rejected"), reader="Anna")
    content = json.loads(file.read_text())
    for change in ({"reader": "Ben"}, {"grades": content["grades"][:1]}):
        file.write_text(json.dumps(content | change))
        assert "was changed since the page saved it" in refused(run, file)
    content["grades"][1]["right"] = "both"
    file.write_text(json.dumps(content))
    assert "was changed" in refused(run, file)
    file.write_text(json.dumps(content | {"checksum": checksum(content)}))
    read_grades(run, [file])


def test_a_file_of_another_run_or_review(run, tmp_path):
    other = Key(KEY.pairs, KEY.trained, "1" * 64)
    ours = save(run / "a.json", KEY.id, answers("chosen"), reader="Anna")
    theirs = save(run / "b.json", other.id, answers("chosen"), reader="Ben")
    assert "has no review" in refused(run, theirs)
    assert "has no review" in refused(run, ours, theirs)
    path = save(run / "c.json", "../../" + KEY.id, answers("chosen"))
    assert "has no review" in refused(run, path)
    write_key(run, other)
    assert "one review at a time" in refused(run, ours, theirs)


def test_unknown_and_repeated_pairs(run):
    unknown = save(run / "a.json", KEY.id, [grade("id9", "A")])
    assert "not in the review (id9)" in refused(run, unknown)
    twice = save(run / "b.json", KEY.id, [grade("id1", "A"), grade("id1", "B")])
    assert "grades pair id1 2 times" in refused(run, twice)


def test_the_same_reader_or_file_twice(run):
    first = save(run / "a.json", KEY.id, answers("chosen"), reader="Anna")
    second = save(run / "b.json", KEY.id, answers("rejected"), reader="Anna")
    assert "second file of Anna" in refused(run, first, second)
    assert "is the same as" in refused(run, first, first)


def test_a_file_without_answers(run):
    assert "has no answers" in refused(run, save(run / "a.json", KEY.id, []))


def test_a_changed_key(tmp_path):
    run = make_run(tmp_path, steps=2)
    key = make_review(run, tmp_path / "r.html")
    file = save(tmp_path / "a.json", key.id, [grade(next(iter(key.pairs)), "A")])
    assert read_grades(run.path, [file])[0] == key
    path = run.path / "review" / f"{key.id}.json"
    path.write_text(path.read_text().replace('"chosen": "A"', '"chosen": "B"', 1))
    with pytest.raises(DataError, match="was changed since the pairs were drawn"):
        read_grades(run.path, [file])
    path.write_text("{}")
    with pytest.raises(DataError, match="is not the key of a review"):
        read_grades(run.path, [file])
