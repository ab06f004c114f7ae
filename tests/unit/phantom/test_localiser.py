"""Where phantoms' lesions and hearts are, a smoke build of the localiser, and the shipped one."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

from medray.bench.localise import DEFINITIONS, LocaliseSettings, run_localise
from medray.config import LocaliserConfig
from medray.errors import UserError
from medray.localising import Concept, concepts
from medray.localising.registry import open_tool
from medray.phantom.studies.study import study
from medray.phantom.training.localiser.masks import locate_studies
from medray.phantom.training.localiser.recipe import SMOKE, build_localiser, phrases_of_phantoms


@pytest.fixture(scope="module")
def studies():
    return locate_studies(0, "heldout", 0, 60)


def test_a_lesion_fills_its_box(studies):
    """The truth of a run's own regions: the box of the mask is the phantom's box, but for pixels
    that are too faint to change."""
    for index in range(60):
        regions, mask = study(0, "heldout", index).regions, studies.lesions[index]
        assert bool(regions) == mask.any() == (studies.kinds[index] != "none")
        if regions:
            x0, y0, x1, y1 = regions[0].box
            rows, columns = np.nonzero(mask)
            found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert np.abs(np.subtract(found, (x0, y0, x1, y1))).max() <= 1


def test_a_heart_is_one_piece_in_the_middle(studies):
    from skimage.measure import label

    for index in range(60):
        heart = studies.hearts[index]
        enlarged = study(0, "heldout", index).truth.heart == "enlarged"
        assert label(heart).max() == 1
        assert (160 < heart.sum() < 360) if enlarged else (60 < heart.sum() < 160)
        rows, columns = np.nonzero(heart)
        assert abs(columns.mean() / 48 - 0.53) < 0.05
        assert abs(rows.mean() / 48 - 0.66) < 0.05


def test_every_concept_of_a_phantom_was_a_phrase_to_learn():
    learnt = {texts[0] for texts in phrases_of_phantoms().values()}
    for index in range(60):
        for exchange in study(0, "train", index).exchanges:
            for concept in concepts(exchange.question, exchange.answer):
                assert concept.phrase in learnt


def test_a_smoke_build_is_a_model_directory(tmp_path):
    figures = build_localiser(tmp_path / "out", progress=lambda text: None, recipe=SMOKE)
    assert {"lesion_iou", "heart_iou", "false_found", "parameters"} <= figures.keys()
    assert CLIPSegForImageSegmentation.from_pretrained(tmp_path / "out")
    assert CLIPSegProcessor.from_pretrained(tmp_path / "out")
    assert "lesion_iou" in (tmp_path / "out" / "README.md").read_text()


def test_a_build_is_a_function_of_its_seed(tmp_path):
    for name in ("a", "b"):
        build_localiser(tmp_path / name, seed=3, progress=lambda text: None, recipe=SMOKE)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert one == other


def test_the_shipped_localiser_finds_what_phantoms_show():
    result = run_localise(LocaliseSettings(studies=100))
    assert result["lesion_iou"] >= 0.5
    assert result["heart_iou"] >= 0.5
    assert result["false_found"] <= 0.2
    assert DEFINITIONS.keys() <= result.keys()


def test_any_name_of_a_finding_will_do(studies):
    tool = open_tool(LocaliserConfig(kind="clipseg", path="phantom/localiser"), "cpu")
    row = studies.kinds.index("effusion")
    image = np.repeat(studies.images[row][:, :, None], 3, axis=2)
    for name in ("pleural effusion", "pleural fluid", "hydrothorax", "lesion"):
        assert tool.find(image, Concept("effusion", name)), name


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (LocaliseSettings(kind="oracle"), "no such kind"),
        (LocaliseSettings(studies=0), "below 1"),
        (LocaliseSettings(threshold=1.0), "not between"),
        (LocaliseSettings(path="nowhere"), "no directory"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, why):
    with pytest.raises(UserError, match=why):
        run_localise(settings)
