"""Prompts with several images, against transformers' own classes and the naive oracle."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from medray.errors import ModelError
from medray.objectives import OBJECTIVES
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model
from medray.policy.saliency import EncodedQuestion, hottest_box, saliency
from medray.policy.scoring.score_pairs import score_answers
from medray.policy.scoring.scorer import Scorer
from tests.support.models import plain
from tests.support.worlds import World, require_naive_gradients, score

TINY = ("tiny_llava", "tiny_qwen2_5_vl", "tiny_qwen3_vl", "tiny_internvl", "tiny_gemma3")
QUESTION = "Is there a small nodule?"
RNG = np.random.default_rng(5)
IMAGES = [RNG.integers(0, 256, (*s, 3), dtype=np.uint8) for s in ((24, 32), (40, 16))]
ANSWER = np.asarray([270, 280, 290, 300])
WORLDS: dict[str, World] = {}


@pytest.fixture(params=TINY)
def path(request):
    return request.getfixturevalue(request.param)


def logps(path, images, answer=ANSWER) -> np.ndarray:
    codec = ChatCodec(path)
    scorer = Scorer(load_model(path, "float32").eval(), codec.architecture, codec.image_token_id)
    prompt, pictures = codec.encode(QUESTION, *images)
    return score_answers([(prompt, answer, pictures)], policy=scorer)[0]


def test_a_prompt_holds_a_placeholder_and_a_picture_per_image(path):
    codec = ChatCodec(path)
    codec.require_images(2)
    assert codec.prompt_ids(QUESTION, 2).count(codec.placeholder_id) == 2
    ids, pictures = codec.encode(QUESTION, *IMAGES)
    assert codec.prompt_length(QUESTION, *IMAGES) == len(ids)
    tokens = sum(codec.image_tokens(image) for image in IMAGES)
    assert (ids == codec.image_token_id).sum() == tokens
    for picture, image in zip(pictures, IMAGES, strict=True):
        assert np.array_equal(picture, codec.pixels(image))


def test_answers_to_two_images_are_scored_as_the_model_does_it(path):
    codec, model = ChatCodec(path), load_model(path, "float32").eval()
    text = codec.render(QUESTION, 2)
    theirs = plain.token_logps(model, codec.processor, text, IMAGES, ANSWER)
    np.testing.assert_allclose(logps(path, IMAGES), theirs, rtol=1e-4, atol=1e-4)


def test_the_second_image_and_the_order_matter(path):
    both = logps(path, IMAGES)
    assert np.abs(both - logps(path, [IMAGES[0], IMAGES[0]])).max() > 1e-2
    assert np.abs(both - logps(path, IMAGES[::-1])).max() > 1e-2


@pytest.mark.parametrize("before", [0, 3])
def test_position_ids_of_two_grids_are_those_of_get_rope_index(tiny_qwen2_5_vl, before):
    model, codec = load_model(tiny_qwen2_5_vl, "float32"), ChatCodec(tiny_qwen2_5_vl)
    grids, image = [(1, 4, 6), (1, 2, 8)], codec.image_token_id
    ids = np.asarray([*range(20, 20 + before), *[image] * 6, 50, 51, *[image] * 4, 60])
    kinds = torch.from_numpy(ids == image)[None].int()
    theirs, delta = model.model.get_rope_index(
        torch.from_numpy(ids)[None], kinds, image_grid_thw=torch.tensor(grids)
    )
    shapes = [(*grid, 96) for grid in grids]
    ours, next_id = codec.architecture.prompt_position_ids(ids, shapes, image)
    assert np.array_equal(ours, theirs[:, 0].numpy())
    assert next_id == len(ids) + int(delta)


@pytest.mark.parametrize("objective", ["fire", "mdpo"])
@pytest.mark.parametrize("name", ["tiny_llava", "tiny_qwen2_5_vl"])
def test_trees_with_two_images_give_the_naive_loss_and_gradients(request, name, objective):
    """v' changes the last image; its first one is the clean one, in several pairs."""
    if name not in WORLDS:
        WORLDS[name] = World(request.getfixturevalue(name), count=2)
    world = WORLDS[name]
    assert all(len(pair.image_keys) == 2 for pair in world.pairs)
    require_naive_gradients(OBJECTIVES[objective], "lora", world)


def test_a_picture_in_several_pairs_is_seen_once(tiny_llava, monkeypatch):
    world = WORLDS.setdefault("tiny_llava", World(tiny_llava, count=2))
    seen = []
    architecture = ChatCodec(tiny_llava).architecture
    own = architecture.features
    monkeypatch.setattr(
        type(architecture), "features", lambda _, m, p: seen.append(len(p)) or own(m, p)
    )
    score(world, world.policy("lora"), OBJECTIVES["fire"].needs)
    assert seen == [len(world.pixels)]


def test_a_template_that_shows_one_image_is_refused_for_two(tiny_llava, tmp_path):
    path = shutil.copytree(tiny_llava, tmp_path / "model")
    template = path / "chat_template.jinja"
    text = template.read_text()
    once = text.replace(
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}",
        "<image>\n{% for part in message['content'] %}{% if part['type'] == 'text' %}",
        1,
    )
    assert once != text
    template.write_text(once)
    codec = ChatCodec(path)
    with pytest.raises(ModelError, match=r"writes 1 images for 2.*data\.max_images=1"):
        codec.require_images(2)


def test_saliency_names_the_image_that_the_policy_looked_at(tiny_qwen2_5_vl):
    """A model that only sums the pixels of the second image."""
    codec = ChatCodec(tiny_qwen2_5_vl)
    model = load_model(tiny_qwen2_5_vl, "float32")
    policy = Scorer(model, codec.architecture, codec.image_token_id).eval()

    class OnlyTheSecond(torch.nn.Module):
        layout = policy.layout

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, forest, pictures):
            first, second = pictures
            return {"policy_logp": (second**2).sum() + 0.0 * first.sum()}

    prompt, pictures = codec.encode("Where?", *IMAGES)
    sizes = tuple(image.shape[:2] for image in IMAGES)
    question = EncodedQuestion(prompt, pictures, sizes, codec.fit)
    heats = saliency(OnlyTheSecond(), question, np.array([5]), np.ones(1, bool))
    assert [heat.shape for heat in heats] == [*sizes]
    assert heats[0].max() == 0.0
    assert heats[1].max() == 1.0
    number, _ = hottest_box(heats, 0.1)
    assert number == 1
