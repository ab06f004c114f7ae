"""`medray data …`: what a check finds and prints, and how bad input is refused."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest

from medray import cli
from medray.data.check import check_file
from medray.data.exchange import import_data
from medray.data.pairs.base import PreferencePair
from medray.data.splits import Row
from medray.data.tables import write_cases, write_pairs
from medray.imaging.load import file_sha256
from medray.records import Case, Region
from tests.support.datasets.miniatures import fire_row, slake, write_image, write_json

LEAK = "leak: {} on several sides of the split"


@pytest.fixture
def case(tmp_path):
    """A function that makes a case about image number `value`."""

    def make(name, value=0, **changes):
        path = write_image(tmp_path / "Jones^Mary" / f"{value}.png", value)
        case = Case(name, str(path), file_sha256(path), f"Q {name}?", "yes", "closed")
        return replace(case, **changes)

    return make


def counts(result) -> dict[str, int]:
    return {name: finding.count for name, finding in result.findings.items() if finding.count}


def check_cases(tmp_path, *rows, **options):
    write_cases(tmp_path / "c.parquet", rows)
    return check_file(tmp_path / "c.parquet", **options)


def test_a_clean_file_has_no_findings(tmp_path, case):
    regions = (Region("mass", (0, 0, 1, 1)),)
    rows = [
        Row(case(str(i), i, regions=regions, patient_id=f"p{i}"), split, f"s{i}")
        for i, split in enumerate(("train", "train", "heldout"))
    ]
    result = check_cases(tmp_path, *rows)
    assert (result.rows, result.images, counts(result)) == (3, 3, {})
    assert result.counts["split"] == {"train": 2, "heldout": 1}
    assert result.counts["answer type"] == {"closed": 3}


def test_leaks_are_named_and_patients_only_by_number(tmp_path, case):
    rows = [
        Row(case("a", 1, patient_id="Smith"), "train", "s-1"),
        Row(case("b", 1, patient_id="Jones"), "heldout", "s-2"),
        Row(case("c", 2, patient_id="Jones"), "validation", "s-3"),
        Row(case("d", 3, patient_id="Jones"), "", "s-3"),
    ]
    result = check_cases(tmp_path, *rows)
    assert result.findings[LEAK.format("image")].names == ["a"]
    assert result.findings[LEAK.format("patient")].names == ["patient 1"]
    assert result.findings[LEAK.format("study")].count == 0
    output = "\n".join(result.lines()) + json.dumps(result.as_json()["findings"])
    assert not [name for name in ("Smith", "Jones", "s-1", "s-2") if name in output]


def test_duplicates_conflicts_and_empty_answers(tmp_path, case):
    rows = [
        Row(case("a", question="Is it?", reference="Yes")),
        Row(case("b", question="is it?", reference="yes")),
        Row(case("c", question="Is it?", reference="no")),
        Row(case("c", 1, question="Is it?", reference="")),
    ]
    result = check_cases(tmp_path, *rows)
    assert counts(result) == {
        "ids that occur twice": 1,
        "questions asked again of the same image": 2,
        "of these with another answer": 1,
        "empty answers": 1,
        "without region": 4,
    }
    assert result.findings["of these with another answer"].names == ["c"]


def test_other_languages_are_named(tmp_path, case):
    rows = [
        Row(case("a")),
        Row(case("b", question="Welche Seite?")),
        Row(case("c", reference="左侧")),
        Row(case("d", reference="Ménière's disease")),
    ]
    assert check_cases(tmp_path, *rows).findings["not in English"].names == ["b", "c"]


@pytest.mark.parametrize("images", [True, False])
def test_missing_and_damaged_images(tmp_path, case, images):
    damaged = tmp_path / "bad.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n")
    gone = {"image": str(tmp_path / "gone.png"), "image_sha256": ""}
    bad = {"image": str(damaged), "image_sha256": file_sha256(damaged)}
    rows = [Row(case("a", **gone)), Row(case("b", **gone)), Row(case("c", **bad)), Row(case("d"))]
    names = check_cases(tmp_path, *rows, images=images).findings["images that cannot be read"].names
    assert names == ["a: image-missing", "c: image-truncated"][: 1 + images]


def test_pairs(tmp_path):
    path = str(write_image(tmp_path / "a.png"))
    pair = PreferencePair("1", path, file_sha256(path), "Q1?", "a", "b", chosen_spans=((0, 1),))
    pairs = [
        pair,
        replace(pair, pair_id="2", question="Q2?", chosen="A  B", rejected="a b"),
        replace(pair, pair_id="3", question="Q3?", chosen=""),
        replace(pair, pair_id="4", question="Q4?", score=0.0, chosen_spans=()),
        replace(pair, pair_id="5", question="Q5?", rejected="a", rejected_image="b.png"),
        replace(pair, pair_id="6", rejected="c"),
    ]
    write_pairs(tmp_path / "p.parquet", pairs)
    assert counts(check_file(tmp_path / "p.parquet")) == {
        "questions asked again of the same image": 1,
        "of these with another answer": 1,
        "chosen and rejected are the same": 1,
        "empty answers": 1,
        "score of zero or less": 1,
        "without edited spans": 1,
    }


@pytest.mark.data
def test_real_files(shared_data, tmp_path):
    import_data("vqa-rad", str(shared_data / "vqa_rad"), tmp_path / "c.parquet")
    result = check_file(tmp_path / "c.parquet", images=False)
    assert (result.rows, result.images) == (2248, 314)
    assert result.findings[LEAK.format("image")].count == 202
    file = shared_data / "mmedpo" / "slake_dpo_weighted.json"
    import_data("mmedpo", str(file), tmp_path / "p.parquet")
    findings = counts(check_file(tmp_path / "p.parquet", images=False))
    assert findings["chosen and rejected are the same"] == 5
    assert findings["images that cannot be read"] == 450


# --- the command --------------------------------------------------------------------------


@pytest.fixture
def medray(tmp_path, monkeypatch, capsys):
    """Run `medray data ARGUMENTS` in a folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["medray", "data", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


def test_import_check_and_export(medray, tmp_path):
    write_image(tmp_path / "a.png")
    write_json(tmp_path / "p.json", [fire_row()])
    code, out, err = medray("import", "fire-mpo", "p.json", "-o", "p.parquet")
    assert (code, out, err) == (0, "p.parquet: 1 pairs\n", "")
    code, out, _ = medray("check", "p.parquet")
    assert code == 0
    assert out.splitlines()[0].split(maxsplit=1) == ["rows", "1 pairs"]
    code, out, _ = medray("check", "p.parquet", "--json")
    assert json.loads(out)["kind"] == "pairs"
    assert medray("export", "p.parquet", "--to", "trl", "-o", "t.jsonl")[0] == 0
    row = json.loads((tmp_path / "t.jsonl").read_text())
    assert row["images"] == [str(tmp_path / "a.png")]
    slake(tmp_path / "s")
    assert medray("import", "slake-zh", "s", "-o", "s.parquet")[1] == "s.parquet: 1 cases\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "imagenet", "x", "-o", "o.parquet"),
        ("import", "slake", "none", "-o", "o.parquet"),
        ("import", "slake", ".", "-o", "o.parquet"),
        ("import", "trl", "none.json", "-o", "o.parquet"),
        ("import", "trl", ".", "-o", "o.parquet"),
        ("import", "trl", "bad.json", "-o", "o.parquet"),
        ("import", "dicom", "bad.json", "-o", "o.parquet"),
        ("import", "fire-mpo", "p.json", "-o", "none/o.parquet"),
        ("import", "fire-mpo", "p.json", "-o", "."),
        ("import", "fire-mpo", "p.json", "-o", "o.parquet", "--images", "none"),
        ("check", "none.parquet"),
        ("check", "bad.json"),
        ("export", "none.parquet", "--to", "trl", "-o", "t.jsonl"),
        ("export", "bad.json", "--to", "verl", "-o", "t.jsonl"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_and_leaves_nothing(medray, tmp_path, arguments):
    (tmp_path / "bad.json").write_text("[{]")
    write_json(tmp_path / "p.json", [fire_row()])
    before = sorted(tmp_path.rglob("*"))
    code, out, err = medray(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("medray: ")
    assert (err.count("\n"), err.count("—")) == (1, 1)
    assert sorted(tmp_path.rglob("*")) == before
