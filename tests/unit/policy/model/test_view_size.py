"""A view that was reduced beforehand is what the processor makes of the image itself."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessor
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

from medray.config import CorruptionConfig, ModelConfig
from medray.errors import ModelError
from medray.imaging.corruption import corrupt
from medray.imaging.load import encode_png
from medray.imaging.view import load_view
from medray.policy.model.chat import ChatCodec
from medray.policy.model.inspection import inspect_model
from medray.policy.model.loading import model_facts
from medray.policy.model.view_size import view_size

TINY = (
    *("tiny_llava", "tiny_llava_qwen2", "tiny_qwen2_vl", "tiny_qwen2_5_vl"),
    *("tiny_qwen3_vl", "tiny_internvl", "tiny_gemma3"),
)
SIZES = [(640, 500), (300, 1000), (1000, 333), (700, 700), (60, 40), (20, 24), (7, 90)]


def picture(size: tuple[int, int]) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_model_sees_the_same(name, size, request, tmp_path):
    """As many tokens, the same shape, and values within 3 % of their spread on average."""
    codec = ChatCodec(request.getfixturevalue(name))
    image, path = picture(size), tmp_path / "a.png"
    path.write_bytes(encode_png(image))
    view = codec.load_view(str(path))
    assert view.size == size
    ids, (expected,) = codec.encode("Where?", image)
    got_ids, (got,) = codec.encode("Where?", view.pixels)
    assert np.array_equal(ids, got_ids)
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 0.03 * expected.std()


CLIP = CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
PADDED = LlavaImageProcessor(
    size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, do_pad=True
)


@pytest.mark.parametrize(
    ("processor", "size", "expected"),
    [
        (CLIP, (3056, 2544), (403, 336)),
        (CLIP, (336, 336), (336, 336)),
        (CLIP, (300, 3000), (336, 3360)),
        (CLIP, (3, 3000), (3, 3000)),  # would have 336,000 columns
        (PADDED, (3056, 2544), (336, 279)),
        (PADDED, (100, 90), (336, 302)),
    ],
)
def test_by_hand(processor, size, expected):
    assert view_size(processor, size) == expected


@pytest.mark.parametrize("side", [250, 403, 1024, 3056])
@pytest.mark.parametrize("processor", [CLIP, PADDED], ids=["crop", "pad"])
def test_noise_reaches_the_model_as_strong_as_it_was_asked_for(processor, side, tmp_path):
    """Within 10 %, whatever the size of the file: the processor averages nothing away."""
    path = tmp_path / "grey.png"
    path.write_bytes(encode_png(np.full((side, side * 5 // 6, 3), 128, np.uint8)))
    view = load_view(str(path), lambda size: view_size(processor, size), Image.Resampling.BICUBIC)
    how = CorruptionConfig(region="whole", whole_sigma=12.0)
    corrupted = corrupt(view.pixels, (), how, seed=0)
    seen = [
        processor(image, return_tensors="np", do_normalize=False)["pixel_values"][0] * 255
        for image in (view.pixels, corrupted.image)
    ]
    change = (seen[1] - seen[0])[:, 40:-40, 60:-60]
    assert 0.9 * 12 < change.std() < 1.1 * 12


QWEN = ("tiny_qwen2_vl", "tiny_qwen2_5_vl", "tiny_qwen3_vl")  # 64 pixels a token, 4 to 12 of them


@pytest.mark.parametrize("name", QWEN)
@pytest.mark.parametrize(
    ("limits", "large", "small"),
    [
        ({}, 12, 4),
        ({"max_pixels": 9 * 64}, 6, 4),
        ({"min_pixels": 9 * 64}, 12, 9),
        ({"min_pixels": 64, "max_pixels": 64}, 1, 1),
    ],
    ids=str,
)
def test_limits_on_pixels_are_kept_by_prompts_pictures_and_views(
    name, limits, large, small, request, tmp_path
):
    config = ModelConfig(path=str(request.getfixturevalue(name)), **limits)
    facts = model_facts(config)
    inspect_model(facts, config)
    codec = ChatCodec(facts.path, facts.limits)
    for size, tokens in (((96, 72), large), ((16, 16), small)):
        path = tmp_path / f"{size}.png"
        path.write_bytes(encode_png(picture(size)))
        for image in (picture(size), codec.load_view(str(path)).pixels):
            ids, (found,) = codec.encode("Where?", image)
            assert (ids == codec.image_token_id).sum() == codec.image_tokens(image) == tokens
            assert np.prod(found.shape[:3]) == 4 * tokens
    assert set(codec.pixel_limits) == (set() if not limits else {"min_pixels", "max_pixels"})


def test_limits_of_the_processor_and_the_configuration_may_not_cross(tiny_qwen2_5_vl):
    with pytest.raises(ModelError, match=r"max_pixels = 64: the processor's own is min_pixels 256"):
        ChatCodec(tiny_qwen2_5_vl, {"max_pixels": 64})
    with pytest.raises(ValueError, match="min_pixels is above max_pixels"):
        ModelConfig(min_pixels=2, max_pixels=1)


@pytest.mark.parametrize("name", ["tiny_llava", "tiny_internvl", "tiny_gemma3"])
def test_a_model_of_other_sizes_refuses_limits(name, request):
    with pytest.raises(ModelError, match=r"model\.max_pixels = 5000: this model's processor does"):
        ChatCodec(request.getfixturevalue(name), {"max_pixels": 5000})
