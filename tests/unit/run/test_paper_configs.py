"""The papers' configurations, on look-alikes of their models and miniatures of their data."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from medray.config import load_config
from medray.data.pairs.base import PreferencePair
from medray.data.tables import write_pairs
from medray.imaging.load import file_sha256
from medray.objectives import answers_needed
from medray.plan import make_plan
from tests.support.datasets.miniatures import slake
from tests.support.paths import ROOT

FOLDER = ROOT / "configs/papers"
MODELS = {"mmedpo": "tiny_llava", "fire_mpo": "tiny_llava_qwen2", "med_vlm_dpo": "tiny_llava"}


@pytest.fixture
def pairs(tmp_path) -> Path:
    rows = []
    for i in range(4):
        image = tmp_path / f"{i}.png"
        Image.new("RGB", (8, 8), (i, i, i)).save(image)
        texts = ("Is there a nodule?", "Yes.", "No.")
        rows.append(PreferencePair(f"p{i}", str(image), file_sha256(image), *texts, score=i / 4))
    write_pairs(tmp_path / "pairs.parquet", iter(rows))
    return tmp_path / "pairs.parquet"


def test_every_paper_has_its_test():
    assert {path.stem for path in FOLDER.iterdir()} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_accepted_on_a_look_alike(name, pairs, tmp_path, request):
    overrides = [
        f"model.path={request.getfixturevalue(MODELS[name])}",
        "model.max_length=null",
        "generator.max_new_tokens=8",
        f"run.output={tmp_path}",
    ]
    (folder := tmp_path / "slake").mkdir()
    real = slake(folder)
    if name == "fire_mpo":
        overrides.append(f"data.path={real}")
    else:
        overrides += [f"data.path={pairs}", f"eval.data={{kind: slake, path: {real}}}"]
    plan = make_plan(load_config(FOLDER / f"{name}.yaml", overrides))
    assert plan.dataset.train
    assert plan.dataset.heldout
    assert answers_needed(plan.config) == (name == "fire_mpo")
    assert plan.lines()


@pytest.mark.parametrize("name", MODELS)
def test_it_fits_on_a_page(name):
    assert len((FOLDER / f"{name}.yaml").read_text().splitlines()) <= 40
