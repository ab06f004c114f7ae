"""Pictures as grey levels are, to the last bit, what the model's own processor makes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessor, SiglipImageProcessor
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

from medray.policy.level_table import find_level_table
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import resolve_model_path
from medray.policy.picture import Levels, as_tensor

SQUARE = {"height": 64, "width": 64}
CLIP = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=SQUARE)
SIGLIP = SiglipImageProcessor(size=SQUARE)
PADDED = LlavaImageProcessor(size={"shortest_edge": 64}, crop_size=SQUARE, do_pad=True)


def noise(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def processed_by(processor):
    return lambda image: np.asarray(processor(image, return_tensors="np")["pixel_values"][0])


@pytest.mark.parametrize(
    ("processor", "sizes"),
    [
        (CLIP, [(64, 64), (64, 65), (64, 99), (67, 64), (200, 64)]),
        (SIGLIP, [(64, 64)]),
        (PADDED, [(64, 64)]),
    ],
)
def test_what_is_looked_up_is_what_the_processor_makes(processor, sizes):
    process = processed_by(processor)
    table = find_level_table(process, noise(96, 96))
    for seed, size in enumerate(sizes):
        levels = table.look_up(noise(*size, seed=seed))
        assert levels.codes.dtype == np.uint8
        assert np.array_equal(process(noise(*size, seed=seed)), np.asarray(levels))


@pytest.mark.parametrize(
    ("processor", "size"),
    [(CLIP, (65, 65)), (CLIP, (63, 64)), (SIGLIP, (64, 70)), (PADDED, (64, 70))],
)
def test_what_is_resized_or_padded_is_not_looked_up(processor, size):
    assert find_level_table(processed_by(processor), noise(96, 96)).look_up(noise(*size)) is None


def test_a_processor_that_does_more_has_no_table(tiny_qwen2_5_vl):
    def blurred(image):
        picture = processed_by(CLIP)(image)
        return (picture + np.roll(picture, 1, axis=1)) / 2

    assert find_level_table(blurred, noise(96, 96)) is None
    assert ChatCodec(tiny_qwen2_5_vl).level_table is None


def test_the_codec_gives_the_processors_numbers_and_remembers_prompts():
    codec = ChatCodec(resolve_model_path("phantom/base"))
    image, other = noise(48, 48, seed=1), noise(48, 60, seed=2)
    for shown in ((image,), (other,), (image, other), (other, image), (image,)):
        ids, pictures = codec.encode("Is there a nodule?", *shown)
        out, expected = codec._process("Is there a nodule?", *shown)
        assert ids.tolist() == out["input_ids"][0].tolist()
        for picture, numbers in zip(pictures, expected, strict=True):
            assert isinstance(picture, Levels)
            assert np.array_equal(np.asarray(picture), numbers)
    assert np.array_equal(np.asarray(codec.pixels(image)), codec._pixels(image))
    large = noise(100, 80)  # is resized
    assert np.array_equal(codec.encode("Where?", large)[1][0], codec._pixels(large))
    assert np.array_equal(codec.encode("Where?", large)[1][0], codec.pixels(large))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_levels_become_the_same_tensor_as_numbers(dtype):
    levels = find_level_table(processed_by(CLIP), noise(96, 96)).look_up(noise(64, 64))
    sent = pickle.loads(pickle.dumps([levels] * 9))
    assert len(pickle.dumps(levels)) < 0.4 * np.asarray(levels).nbytes
    cpu = torch.device("cpu")
    found, expected = as_tensor(sent[0], cpu, dtype), as_tensor(np.asarray(levels), cpu, dtype)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
    assert found.is_contiguous()
