"""The pairs of a run in the layouts of other trainers."""

from __future__ import annotations

from pathlib import Path

from medray.data.exchange import export_pairs
from medray.data.tables import read_pairs
from medray.imaging.load import file_sha256
from medray.ledger import read_ledger
from tests.unit.report.test_report import make_run


def test_the_pairs_of_a_run_go_to_other_trainers(tmp_path: Path) -> None:
    """With their images, and a sentence's with the beginning of the answer before it."""
    run = make_run(tmp_path / "run")
    rows = [row for row in read_ledger(run.path).to_pylist() if row["status"] == "trained"]
    assert export_pairs(run.path, "pairs", tmp_path / "own.parquet") == f"{len(rows)} pairs"
    pairs = {pair.pair_id: pair for pair in read_pairs(tmp_path / "own.parquet")}
    assert export_pairs(run.path, "trl", tmp_path / "trl.jsonl") == f"{len(rows)} pairs"
    assert {row["scope"] for row in rows} == {"answer", "sentence"}
    for row in rows:
        pair, prefix = pairs[row["pair_id"]], row["prefix"] or ""
        assert (pair.chosen, pair.rejected) == (prefix + row["chosen"], prefix + row["rejected"])
        (start, end), *_ = pair.chosen_spans
        assert pair.chosen[start:end] == "left"
        assert file_sha256(pair.image) == row["image_sha256"]
