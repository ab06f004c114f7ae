"""A run on data without regions: v' is made where the policy looked."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from medray.phantom.studies import study
from tests.support.processes.running import launch

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]


def data_without_regions(folder, studies: int = 6):
    """Phantom pictures and questions as a jsonl folder that knows nothing of their lesions."""
    folder.mkdir()
    rows = []
    for i in range(studies):
        shown = study(0, "train", i)
        Image.fromarray(shown.image).save(folder / f"{i}.png")
        for j, exchange in enumerate(shown.exchanges):
            rows.append(
                {
                    "id": f"{i}-{j}",
                    "image": f"{i}.png",
                    "question": exchange.question,
                    "answer": exchange.answer,
                    "split": "heldout" if i == 0 else "train",
                }
            )
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    "overrides",
    [(), pytest.param(("loop.max_lag=1", "learner.world_size=2"), marks=pytest.mark.chaos)],
    ids=str,
)
def test_a_run_on_data_without_regions_corrupts_what_the_policy_looked_at(tmp_path, overrides):
    done = launch(
        tmp_path,
        "configs/quickstart.yaml",
        "data.kind=jsonl",
        f"data.path={data_without_regions(tmp_path / 'data')}",
        "data.limit=null",
        "corruption.region=lesion-or-saliency",
        "loop.steps=3",
        "loop.batch=8",
        "loop.checkpoint_every=0",
        "eval.every=0",
        "eval.n=4",
        *overrides,
    )
    assert done.code == 0, done.err
    rows, metrics = done.ledger(), done.metrics()
    trained = [row for row in rows if row["status"] == "trained"]
    assert [row["step"] for row in metrics] == [1, 2, 3]
    assert {row["region_source"] for row in trained} == {"saliency"}
    assert all(row["corrupted_sha256"] for row in trained)
    assert all(
        row["pairs_issued"] == row["pairs_trained"] + row["pairs_dropped"] for row in metrics
    )
    assert len(trained) == sum(row["pairs_trained"] for row in metrics) >= 3
    assert len(rows) == sum(row["pairs_issued"] for row in metrics) == 24
    # A learner that was disturbed by the question would be another policy than the generators'.
    assert all(row["logp_gap"] < 0.05 for row in metrics)
