"""Where the policy looks: at the lesion, for the phantom base model; pixels map back correctly."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from medray.config import ModelConfig
from medray.phantom import BASE_PATH
from medray.phantom.studies.study import Study, study
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model, model_facts
from medray.policy.saliency import EncodedQuestion, hottest_box, saliency
from medray.policy.scoring.scorer import Scorer


def scorer(path, model=None) -> Scorer:
    facts = model_facts(ModelConfig(path=str(path)))
    model = load_model(path, "float32") if model is None else model
    return Scorer(model, facts.architecture, facts.image_token).eval()


@pytest.fixture(scope="module")
def base() -> tuple[Scorer, ChatCodec]:
    return scorer(BASE_PATH), ChatCodec(BASE_PATH)


def heat_of(base, shown: Study, word: str, image: np.ndarray | None = None) -> np.ndarray:
    """The heat map of the tokens of one word of the reference report."""
    policy, codec = base
    exchange, image = shown.exchanges[0], shown.image if image is None else image
    match = re.search(rf"\b{word}\b", exchange.answer.lower())
    assert match is not None
    encoded = codec.tokenizer(
        exchange.answer, add_special_tokens=False, return_offsets_mapping=True
    )
    mask = np.array([a < match.end() and b > match.start() for a, b in encoded.offset_mapping])
    prompt, pictures = codec.encode(exchange.question, image)
    question = EncodedQuestion(prompt, pictures, (image.shape[:2],), codec.fit)
    (heat,) = saliency(policy, question, np.array(encoded.input_ids), mask)
    return heat


@pytest.mark.parametrize("name", ["side", "zone", "size"])
def test_it_looks_at_the_lesion(base, name: str) -> None:
    """More heat per pixel in the lesion's box than outside it, in nearly every study."""
    studies = [study(7, "heldout", index) for index in range(60)]
    with_lesion = [s for s in studies if getattr(s.truth, name)][:25]
    ratios = []
    for shown in with_lesion:
        heat = heat_of(base, shown, getattr(shown.truth, name))
        assert heat.shape == (48, 48)
        assert heat.min() >= 0.0
        assert heat.max() == 1.0
        x0, y0, x1, y1 = shown.regions[0].box
        inside = np.zeros((48, 48), bool)
        inside[y0:y1, x0:x1] = True
        ratios.append(heat[inside].mean() / heat[~inside].mean())
    assert np.median(ratios) > 2.0
    assert np.mean(np.array(ratios) > 1.0) >= 0.88


def test_only_the_centre_of_a_wide_image_is_seen(base) -> None:
    """The processor crops a square from the middle: nothing outside it can matter."""
    shown = next(s for s in (study(7, "heldout", i) for i in range(9)) if s.truth.side)
    wide = np.zeros((48, 80, 3), np.uint8)
    wide[:, 16:64] = shown.image
    heat = heat_of(base, shown, shown.truth.side, wide)
    assert heat.shape == (48, 80)
    assert not heat[:, :16].any()
    assert not heat[:, 64:].any()
    np.testing.assert_allclose(heat[:, 16:64], heat_of(base, shown, shown.truth.side), atol=1e-5)


def test_patches_map_back_to_their_position_in_the_image(tiny_qwen2_5_vl) -> None:
    """A model that only sums pixels: the heat is at the one bright patch and nowhere else."""
    codec = ChatCodec(tiny_qwen2_5_vl)
    policy = scorer(tiny_qwen2_5_vl)
    image = np.full((24, 32, 3), 128, np.uint8)
    image[4:8, 20:24] = 255  # one patch: row 1, column 5 of 6 × 8; all else is near zero

    class OnlyPixels(torch.nn.Module):
        layout = policy.layout

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, forest, pictures):
            return {"policy_logp": self.weight * pictures[0].sum()}

    prompt, pictures = codec.encode("Where?", image)
    assert pictures[0].shape[:3] == (1, 6, 8)
    mask = np.ones(1, bool)
    (heat,) = saliency(
        OnlyPixels(), EncodedQuestion(prompt, pictures, ((24, 32),), codec.fit), np.array([5]), mask
    )
    assert np.unravel_index(heat.argmax(), heat.shape) in {
        (row, column) for row in range(4, 8) for column in range(20, 24)
    }
    assert heat[12:].max() < 0.05
    assert heat[:, :14].max() < 0.05


@pytest.mark.parametrize(
    "model", ["tiny_qwen2_5_vl", "tiny_qwen3_vl", "tiny_internvl", "tiny_gemma3"]
)
def test_each_architecture_has_a_map_of_the_image(model, request) -> None:
    path = request.getfixturevalue(model)
    codec, policy = ChatCodec(path), scorer(path)
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    prompt, pictures = codec.encode("Where?", image)
    answer, mask = np.arange(10, 14), np.array([False, True, True, False])
    (heat,) = saliency(
        policy, EncodedQuestion(prompt, pictures, ((24, 40),), codec.fit), answer, mask
    )
    assert heat.shape == (24, 40)
    assert heat.max() == 1.0
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_padded_image_is_the_middle_of_its_square(tiny_llava) -> None:
    """Its heat is that of the square it was padded to, without the padding."""
    policy = scorer(tiny_llava)
    codec = ChatCodec(tiny_llava)
    square = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    prompt, pictures = codec.encode("Where?", square)
    answer, mask = np.arange(10, 14), np.ones(4, bool)
    (full,) = saliency(
        policy, EncodedQuestion(prompt, pictures, ((60, 60),), codec.fit), answer, mask
    )
    for size, part in (((60, 40), np.s_[:, 10:50]), ((41, 60), np.s_[9:50, :])):
        (heat,) = saliency(policy, EncodedQuestion(prompt, pictures, (size,), "pad"), answer, mask)
        assert heat.shape == size
        np.testing.assert_allclose(heat, full[part] / full[part].max(), atol=1e-6)


def heat_map(*pixels: tuple[int, int, float]) -> np.ndarray:
    heat = np.zeros((10, 10), np.float32)
    for y, x, value in pixels:
        heat[y, x] = value
    return heat


@pytest.mark.parametrize(
    ("pixels", "share", "box"),
    [
        ([(3, 6, 1.0)], 0.1, (6, 3, 7, 4)),  # x before y, ends exclusive
        ([(3, 6, 1.0), (4, 7, 0.5)], 0.1, (6, 3, 8, 5)),  # touching across a corner
        ([(0, 0, 1.0), (5, 5, 0.2), (5, 6, 0.2)], 0.1, (5, 5, 7, 6)),  # the largest, not hottest
        ([(0, 0, 1.0), (5, 5, 0.2), (5, 6, 0.2)], 0.01, (0, 0, 1, 1)),  # 1 of 100 is hot
        ([(9, 9, 1.0), (8, 9, 1.0)], 0.9, (9, 8, 10, 10)),  # pixels without heat are never hot
    ],
)
def test_the_box_around_the_hottest_share(pixels, share, box) -> None:
    assert hottest_box([heat_map(*pixels)], share) == (box and (0, box))


def test_the_share_is_a_share_of_the_area() -> None:
    """Rows 0 … 9 of rising heat: the hottest 30 of 100 pixels are the last three rows."""
    heat = np.repeat(np.arange(10.0), 10).reshape(10, 10)
    assert hottest_box([heat], 0.3) == (0, (0, 7, 10, 10))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_without_heat_there_is_no_box(value) -> None:
    assert hottest_box([np.full((4, 5), value)], 0.1) is None
