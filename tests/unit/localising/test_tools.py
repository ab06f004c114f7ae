"""Every kind of visual tool, as a tiny random model: from a picture and a concept to regions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medray.config import LocaliserConfig
from medray.errors import ModelError
from medray.imaging.regions import read_mask, region_mask
from medray.localising import Concept, check_localiser
from medray.localising.registry import TOOLS, open_tool
from tests.support.models.tiny_localisers import build_tiny_localiser

HEIGHT, WIDTH = 70, 90
EFFUSION = Concept("effusion", "pleural effusion")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tools")
    return {kind: build_tiny_localiser(kind, root / kind) for kind in TOOLS}


def config(kind: str, path: Path, **keys) -> LocaliserConfig:
    return LocaliserConfig(kind=kind, path=str(path), **{"max_area": 1.0} | keys)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", TOOLS)
def test_regions_of_a_picture_and_a_concept(folders, kind):
    tool = open_tool(config(kind, folders[kind], threshold=0.01), "cpu")
    regions = tool.find(picture(), EFFUSION)
    assert regions
    for region in regions:
        assert (region.label, region.source) == ("effusion", kind)
        assert 0.01 <= region.score <= 1.0
        assert (region.box is None) != (region.mask is None)
        if region.box is not None:
            x0, y0, x1, y1 = region.box
            assert 0 <= x0 < x1 <= WIDTH
            assert 0 <= y0 < y1 <= HEIGHT
    assert region_mask(regions, HEIGHT, WIDTH).any()
    assert tool.find(picture(), EFFUSION) == regions  # the same again
    torch.manual_seed(1)
    assert (
        open_tool(config(kind, folders[kind], threshold=0.01), "cpu").find(picture(), EFFUSION)
        == regions
    )


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.95])
def test_only_what_is_above_the_threshold_is_found(folders, threshold):
    boxes = open_tool(config("grounding-dino", folders["grounding-dino"], threshold=0.01), "cpu")
    every = boxes.find(picture(), EFFUSION)
    boxes.config = config("grounding-dino", folders["grounding-dino"], threshold=threshold)
    expected = tuple(region for region in every if region.score >= threshold)
    assert boxes.find(picture(), EFFUSION) == expected != every

    mask = open_tool(config("clipseg", folders["clipseg"], threshold=threshold), "cpu")
    heat = mask.heat(picture(), EFFUSION)
    (region,) = mask.find(picture(), EFFUSION)
    assert np.array_equal(read_mask(region.mask, HEIGHT, WIDTH), heat >= threshold)
    assert region.score == pytest.approx(float(heat[heat >= threshold].mean()), abs=1e-6)

    instances = open_tool(config("sam3", folders["sam3"], threshold=0.01), "cpu")
    (region,) = instances.find(picture(), EFFUSION)
    instances.config = config("sam3", folders["sam3"], threshold=threshold)
    assert len(instances.find(picture(), EFFUSION)) == (region.score >= threshold)


@pytest.mark.parametrize("kind", ["clipseg", "sam3"])
def test_a_mask_of_most_of_the_picture_points_nowhere(folders, kind):
    tool = open_tool(config(kind, folders[kind], threshold=0.01), "cpu")
    (region,) = tool.find(picture(), EFFUSION)
    area = read_mask(region.mask, HEIGHT, WIDTH).mean()
    tool.config = config(kind, folders[kind], threshold=0.01, max_area=area * 0.99)
    assert tool.find(picture(), EFFUSION) == ()


def test_a_heat_map_covers_the_picture_as_the_model_sees_it(folders):
    """Its values are the model's own, at the size of the picture."""
    tool = open_tool(config("clipseg", folders["clipseg"]), "cpu")
    square = np.repeat(np.repeat(picture()[:64, :64], 1, axis=0), 1, axis=1)
    inputs = tool.processor(text=[EFFUSION.phrase], images=[square], return_tensors="pt")
    with torch.no_grad():
        direct = tool.model(**inputs).logits.reshape(64, 64).sigmoid().numpy()
    assert np.allclose(tool.heat(square, EFFUSION), direct, atol=1e-6)
    assert tool.heat(picture(), EFFUSION).shape == (HEIGHT, WIDTH)


def test_a_phrase_matters(folders):
    tool = open_tool(config("clipseg", folders["clipseg"]), "cpu")
    one, other = (tool.heat(picture(), Concept("x", p)) for p in ("lung nodule", "heart"))
    assert not np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda d: (d / "config.json").unlink(), "no directory with a config.json"),
        (lambda d: (d / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda d: (d / "config.json").write_text('{"model_type": "llava"}'), "type 'llava'"),
        (lambda d: (d / "model.safetensors").unlink(), "holds no *.safetensors"),
        (lambda d: [f.unlink() for f in d.glob("*processor_config.json")], "holds no preprocessor"),
    ],
)
def test_a_directory_that_cannot_be_used_is_one_clear_line(tmp_path, damage, expected):
    folder = build_tiny_localiser("clipseg", tmp_path / "tool")
    check_localiser(config("clipseg", folder))
    damage(folder)
    with pytest.raises(ModelError, match=expected.replace("*", r"\*")) as raised:
        check_localiser(config("clipseg", folder))
    assert "\n" not in str(raised.value)


def test_a_kind_that_transformers_lacks_is_one_clear_line(folders, monkeypatch):
    import transformers

    monkeypatch.delattr(transformers, "Sam3Model", raising=False)
    real = type(transformers).__getattr__

    def without(module, name):
        if name == "Sam3Model":
            raise AttributeError(name)
        return real(module, name)

    monkeypatch.setattr(type(transformers), "__getattr__", without)
    with pytest.raises(ModelError, match="has no Sam3Model"):
        check_localiser(config("sam3", folders["sam3"]))


def test_missing_weights_are_never_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = build_tiny_localiser("clipseg", tmp_path / "tool")
    weights = load_file(folder / "model.safetensors")
    weights.pop("decoder.film_mul.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"decoder\.film_mul\.weight"):
        open_tool(config("clipseg", folder), "cpu")


def test_no_localiser_is_nothing_to_check():
    check_localiser(LocaliserConfig())
