"""A run that serves its own language model, whose valid JSON is nonsense and never a pair.

The model has random weights, or is a real one that is far too small.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from medray.editing import FindingsEditor
from medray.phantom.studies import study
from tests.support.models.smollm2 import needs_smollm2, smollm2
from tests.support.models.tiny_chat_model import build_tiny_chat_model
from tests.support.processes.running import Finished, launch

# Engines, their deaths and the guard have unit tests: the whole run is for the long tests.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]


def write_data(folder: Path, studies: int = 5) -> Path:
    """Phantom images and questions as a jsonl folder; every other reference is beyond the rules."""
    folder.mkdir()
    rows = []
    for i in range(studies):
        shown = study(0, "train", i)
        Image.fromarray(shown.image).save(folder / f"{i}.png")
        split = "heldout" if i == 0 else "train"
        for j, exchange in enumerate(shown.exchanges):
            row = {"id": f"{i}-{j}", "image": f"{i}.png", "split": split}
            answer = "The flange is torqued." if (i + j) % 2 else exchange.answer
            rows.append(row | {"question": exchange.question, "answer": answer})
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module", params=["random", pytest.param("smollm2", marks=needs_smollm2)])
def done(request, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("served")
    build = {"random": build_tiny_chat_model, "smollm2": smollm2}[request.param]
    return launch(
        folder,
        "configs/quickstart.yaml",
        "data.kind=jsonl",
        f"data.path={write_data(folder / 'data')}",
        "data.limit=null",
        "editor.kind=findings+llm",
        "editor.same_slot=false",  # else the weaker rule reads the odd references, too
        f"editor.path={build(folder / 'model')}",
        "corruption.region=whole",
        "loop.steps=2",
        "loop.batch=12",
        "loop.checkpoint_every=0",
        "eval.every=0",
        "eval.n=1",
    )


def test_the_run_succeeds_and_says_what_it_serves(done):
    assert done.code == 0, done.err
    assert "1 LanguageModel (vLLM)" in done.out
    assert len(done.metrics()) == 2


def test_no_nonsense_becomes_a_pair(done):
    rows = done.ledger()
    odd = [row for row in rows if row["reference"] == "The flange is torqued."]
    assert odd
    assert {row["drop_reason"] for row in odd} == {"llm-unqualified"}, "it failed its exam"
    made = [row for row in rows if row["status"] == "trained"]
    assert made
    assert all(" by=findings" in row["editor"] for row in made)
    assert all("model=" in row["editor"] and "@" in row["editor"] for row in made)


def test_every_chosen_side_agrees_with_its_reference(done):
    for row in done.ledger():
        if row["status"] == "trained":
            again = FindingsEditor().edit(row["question"], row["reference"], row["chosen"], seed=0)
            assert again.verdict == "right", row
