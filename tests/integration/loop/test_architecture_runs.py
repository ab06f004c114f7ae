"""The whole loop with the other architectures: generator, learner and what passes between them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.processes.running import launch

# Both sides of each architecture are compared in generator/: here in the whole loop.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]
SIZES = [(16, 16), (24, 16), (16, 32), (40, 24)]  # of the images, width × height


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Questions about images of several sizes; half are held out."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(16):
        width, height = SIZES[i % len(SIZES)]
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(
            {
                "id": str(i),
                "image": f"{i}.png",
                "split": "train" if i % 2 else "heldout",
                "question": "Describe.",
                "answer": "There is a small nodule in the left upper zone.",
            }
        )
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("model", "dtype", "sync", "gap"),
    [
        ("tiny_qwen2_5_vl", "bfloat16", "full", 0.15),
        # Images of 6 tokens at most, of up to 12 that its processor would make.
        ("tiny_qwen2_5_vl model.max_pixels=384", "float32", "full", 0.05),
        ("tiny_llava_qwen2", "bfloat16", "adapter", 0.15),
        ("tiny_qwen3_vl", "float32", "full", 0.05),
        ("tiny_internvl", "float32", "full", 0.05),
    ],
)
def test_the_loop_runs_and_both_sides_hold_the_same_policy(
    model, dtype, sync, gap, dataset, tmp_path, request
):
    """sft: a random model says nothing that an editor could correct, but it can imitate.

    The weights are sent to be evaluated: a row of metrics has the gap of the update before it.
    """
    name, *limits = model.split()
    done = launch(
        tmp_path,
        "configs/quickstart.yaml",
        f"model.path={request.getfixturevalue(name)}",
        *limits,
        f"data={{kind: jsonl, path: {dataset}}}",
        "objective={name: sft}",
        f"model.dtype={dtype}",
        f"loop.sync={sync}",
        "loop.steps=3",
        "loop.batch=8",
        "loop.checkpoint_every=0",
        "learner.micro_batch=4",
        "learner.lr=3e-3",
        "generator.max_new_tokens=8",
        "eval={every: 1, n: 4}",
    )
    assert done.code == 0, done.err
    rows = done.metrics()
    assert [row["pairs_trained"] for row in rows] == [8, 8, 8]
    assert {row["tokens_generated"] for row in rows} == {0}
    losses = [row["loss"] for row in rows]
    assert losses == sorted(losses, reverse=True), "three steps on one sentence must learn"
    assert losses[-1] < 0.9 * losses[0]
    assert all(0 < row["logp_gap"] < gap for row in rows[1:]), [row["logp_gap"] for row in rows]
    assert {row["chosen"] for row in done.ledger()} == {
        "There is a small nodule in the left upper zone."
    }
