"""The model of the comparison on the small shape says what the tiny model says without an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medray.bench.online.grown import grow
from medray.config import ModelConfig
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model, model_facts, resolve_model_path

IMAGE = 3
QUESTION = "Describe the findings in this image."


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    path = tmp_path_factory.mktemp("grown") / "model"
    grow(resolve_model_path("phantom/paragraphs_base"), path)
    return path


def next_token(model, ids, **image):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), **image).logits
    return logits[0, -1].float().log_softmax(-1)


def test_it_has_the_shape(grown):
    facts = model_facts(ModelConfig(path=str(grown)))
    assert (facts.vocabulary, facts.image_tokens) == (32_000, 256)
    assert 60e6 < sum(p.numel() for p in load_model(grown, "bfloat16").parameters()) < 65e6


def test_it_says_the_same(grown):
    codec = ChatCodec(grown)
    image = np.full((48, 48, 3), 100, np.uint8)
    ids, pictures = codec.encode(QUESTION, image)
    assert (ids == IMAGE).sum() == 256
    pixels = torch.from_numpy(np.stack(pictures))
    large, tiny = (
        load_model(grown, "float32"),
        load_model(resolve_model_path("phantom/paragraphs_base"), "float32"),
    )
    answer = list(codec.tokenizer.encode(" The heart is", add_special_tokens=False))
    for begun in ([], answer):
        given = [*ids.tolist(), *begun]
        found = next_token(large, given, pixel_values=pixels)
        expected = next_token(tiny, [token for token in given if token != IMAGE])
        known = len(expected)
        assert found[known:].exp().sum() < 1e-3
        assert (expected.exp() * (expected - found[:known])).sum() < 0.1
