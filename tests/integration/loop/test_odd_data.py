"""Runs on a folder without regions in which some rows are bad, each in its own way.

What is bad is dropped with its reason; in the rest, v' is made where the policy looked.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from medray.phantom.studies import study
from tests.support.processes.running import Finished, launch

# Every reason has a unit test, and saliency its own: here in the whole loop.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

REASONS = {
    "empty-answer": "empty-reference",
    "long": "prompt-too-long",
    "missing": "image-missing",
    "truncated": "image-truncated",
    "zero": "image-empty",
}


def write_data(folder: Path, studies: int = 5) -> Path:
    """Phantom images and questions as a jsonl folder without regions; a bad row of each kind."""
    folder.mkdir()
    rows = []
    for i in range(studies):
        shown = study(0, "train", i)
        Image.fromarray(shown.image).save(folder / f"{i}.png")
        split = "heldout" if i == 0 else "train"
        for j, exchange in enumerate(shown.exchanges):
            row = {"id": f"{i}-{j}", "image": f"{i}.png", "split": split}
            rows.append(row | {"question": exchange.question, "answer": exchange.answer})
    picture = (folder / "1.png").read_bytes()
    (folder / "truncated.png").write_bytes(picture[: len(picture) // 2])
    (folder / "zero.png").write_bytes(b"")
    good = rows[-1]
    rows += [
        good | {"id": "empty-answer", "answer": " "},
        good | {"id": "long", "question": "Is there a nodule? " * 400},
        good | {"id": "missing", "image": "nowhere.png"},
        good | {"id": "truncated", "image": "truncated.png"},
        good | {"id": "zero", "image": "zero.png"},
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module", params=[(), ("loop.max_lag=1", "learner.world_size=2")], ids=str)
def done(request, tmp_path_factory) -> Finished:
    """Three steps, in which every training row is drawn at least once."""
    folder = tmp_path_factory.mktemp("odd")
    return launch(
        folder,
        "configs/quickstart.yaml",
        "data.kind=jsonl",
        f"data.path={write_data(folder / 'data')}",
        "data.limit=null",
        "corruption.region=lesion-or-saliency",
        "loop.steps=3",
        "loop.batch=8",
        "loop.checkpoint_every=0",
        "eval.every=0",
        "eval.n=4",
        *request.param,
    )


def test_the_run_succeeds_and_the_ledger_balances(done):
    assert done.code == 0, done.err
    rows, metrics = done.ledger(), done.metrics()
    assert [row["step"] for row in metrics] == [1, 2, 3]
    assert len(rows) == sum(row["pairs_issued"] for row in metrics)
    assert len({row["item_id"] for row in rows}) == 24
    assert sum(row["answers_issued"] for row in metrics) == 24
    assert all(
        row["pairs_issued"] == row["pairs_trained"] + row["pairs_dropped"] for row in metrics
    )


def test_bad_rows_are_dropped_with_their_reasons(done):
    bad = [row for row in done.ledger() if row["case_id"] in REASONS]
    assert {row["case_id"] for row in bad} == set(REASONS)
    assert all(row["drop_reason"] == REASONS[row["case_id"]] for row in bad)


def test_without_regions_v_is_made_where_the_policy_looked(done):
    trained = [row for row in done.ledger() if row["status"] == "trained"]
    assert len(trained) == sum(row["pairs_trained"] for row in done.metrics()) >= 3
    assert {row["region_source"] for row in trained} == {"saliency"}
    assert all(row["corrupted_sha256"] for row in trained)


def test_finding_regions_leaves_the_learners_as_they_were(done):
    """Otherwise their policy would not be the generators'."""
    assert all(row["logp_gap"] < 0.05 for row in done.metrics())
