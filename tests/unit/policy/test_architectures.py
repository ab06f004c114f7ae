"""What medray knows about each architecture, against transformers' own classes."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.policy.architectures import ARCHITECTURES, attention_window, layer_kinds, text_config
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model, model_facts
from medray.policy.model.tuning import prepare_policy
from medray.policy.scoring.score_pairs import score_answers
from medray.policy.scoring.scorer import Scorer
from tests.support.models import plain
from tests.support.models.tiny_parts import CONTEXT

TINY = (
    "tiny_llava",
    "tiny_llava_qwen2",
    "tiny_qwen2_vl",
    "tiny_qwen2_5_vl",
    "tiny_qwen3_vl",
    "tiny_internvl",
    "tiny_gemma3",
)
GROUPS = ("language", "projector", "vision")
QUESTION = "Is there a small nodule?"
RNG = np.random.default_rng(3)
IMAGES = [RNG.integers(0, 256, (*s, 3), dtype=np.uint8) for s in ((24, 32), (40, 16), (64, 64))]
QWEN = ARCHITECTURES["Qwen2_5_VLForConditionalGeneration"]
LLAVA = ARCHITECTURES["LlavaForConditionalGeneration"]
IMAGE = 6  # an id for image tokens


@pytest.fixture(params=TINY)
def path(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def codec(path):
    return ChatCodec(path)


@pytest.fixture
def model(path):
    return load_model(path, "float32").eval()


@pytest.fixture(scope="module")
def qwen(tiny_qwen2_5_vl):
    return load_model(tiny_qwen2_5_vl, "float32")


# --- positions ----------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(1, 4, 4), (1, 2, 12), (1, 10, 4), (1, 6, 8), (1, 2, 2)])
@pytest.mark.parametrize(("before", "after"), [(4, 9), (0, 3), (5, 1), (0, 0)])
def test_qwen_position_ids_are_those_of_get_rope_index(qwen, grid, before, after):
    count = grid[0] * grid[1] * grid[2] // 4
    ids = np.asarray([*range(20, 20 + before), *[IMAGE] * count, *range(50, 50 + after)])
    kinds = torch.from_numpy(ids == IMAGE)[None].int()
    theirs, delta = qwen.model.get_rope_index(
        torch.from_numpy(ids)[None], kinds, image_grid_thw=torch.tensor([grid])
    )
    ours, next_id = QWEN.prompt_position_ids(ids, [(*grid, 96)], IMAGE)
    assert ours.dtype == np.int64
    assert np.array_equal(ours, theirs[:, 0].numpy())
    assert next_id == len(ids) + int(delta)


def test_qwen_position_ids_by_hand():
    """Two words, an image of 2 × 3 tokens (a grid of 4 × 6 patches), one word."""
    ids = np.asarray([20, 21, *[IMAGE] * 6, 50])
    position_ids, next_id = QWEN.prompt_position_ids(ids, [(1, 4, 6, 96)], IMAGE)
    assert position_ids.tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5],
        [0, 1, 2, 2, 2, 3, 3, 3, 5],
        [0, 1, 2, 3, 4, 2, 3, 4, 5],
    ]
    assert next_id == 6


def test_image_tokens_that_do_not_fit_the_grid_are_an_error():
    with pytest.raises(ValueError, match="5 image tokens for a grid of 1 × 4 × 6"):
        QWEN.prompt_position_ids(np.full(5, IMAGE), [(1, 4, 6, 96)], IMAGE)


def test_llava_position_ids_count_up():
    ids = np.asarray([1, IMAGE, IMAGE, 7])
    position_ids, next_id = LLAVA.prompt_position_ids(ids, [(3, 8, 8)], IMAGE)
    assert (position_ids.tolist(), next_id) == ([[0, 1, 2, 3]], 4)


# --- pictures and features ----------------------------------------------------------------


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: "x".join(map(str, image.shape[:2])))
def test_a_qwen_picture_is_the_processors_rows_and_grid(tiny_qwen2_5_vl, image):
    codec = ChatCodec(tiny_qwen2_5_vl)
    theirs = codec.processor.image_processor(images=[image], return_tensors="np")
    ours = codec.pixels(image)
    assert (ours.dtype, ours.flags.c_contiguous) == (np.float32, True)
    assert ours.shape[:3] == tuple(theirs["image_grid_thw"][0])
    assert np.array_equal(ours.reshape(-1, ours.shape[-1]), theirs["pixel_values"])


def test_features_and_positions_match_the_models_own_path(codec, model):
    """Pictures of several sizes in one call; each as transformers documents its model's use."""
    answer = np.asarray([270, 280, 290, 300])
    pictures = [codec.pixels(image) for image in IMAGES]
    with torch.no_grad():
        features = codec.architecture.features(model, [torch.from_numpy(p) for p in pictures])
    assert [len(f) for f in features] == [codec.image_tokens(image) for image in IMAGES]
    scorer = Scorer(model, codec.architecture, codec.image_token_id)
    prompts = [codec.encode(QUESTION, image)[0] for image in IMAGES]
    given = [(ids, answer, [picture]) for ids, picture in zip(prompts, pictures, strict=True)]
    for image, ours in zip(IMAGES, score_answers(given, policy=scorer), strict=True):
        theirs = plain.token_logps(model, codec.processor, codec.render(QUESTION), image, answer)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_tiny_models_depend_on_the_image(codec, model):
    """Otherwise the comparison above would prove nothing about the image."""
    text = codec.render(QUESTION)
    logps = [
        plain.token_logps(model, codec.processor, text, i, range(270, 282)) for i in IMAGES[:2]
    ]
    assert np.abs(logps[0] - logps[1]).mean() > 0.2
    assert np.std(logps[0]) > 0.5


# --- groups of weights --------------------------------------------------------------------


def test_every_weight_belongs_to_one_group(codec, model):
    marks = codec.architecture.group_marks
    for name, _ in model.named_parameters():
        owners = [group for group in GROUPS if any(mark in name for mark in marks[group])]
        assert len(owners) == 1, name


@pytest.mark.parametrize("group", GROUPS)
def test_lora_reaches_every_linear_layer_of_its_group(codec, model, group):
    """All but the head; under PEFT's names the marks still identify a weight's group."""
    marks = codec.architecture.group_marks[group]
    linear = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and any(mark in name + "." for mark in marks)
    }
    config = ModelConfig(lora=LoraConfig(rank=2, targets=(group,)))
    if not linear:
        with pytest.raises(ModelError, match=f"the {group} of .* has no linear layer"):
            prepare_policy(model, config)
        return
    policy = prepare_policy(model, config)
    trained = [name for name, p in policy.named_parameters() if p.requires_grad]
    assert all(any(mark in name for mark in marks) for name in trained)
    adapted = {re.sub(r"base_model\.model\.(.*)\.lora_[AB]\..*", r"\1", name) for name in trained}
    assert adapted == linear - {"lm_head"}


# --- facts --------------------------------------------------------------------------------


def facts(path, **changes):
    return model_facts(ModelConfig(path=str(path), **changes))


@pytest.mark.parametrize(
    ("name", "tokens", "placeholder"),
    [
        ("tiny_llava", 4, "<image>"),
        ("tiny_llava_qwen2", 4, "<image>"),
        ("tiny_qwen2_vl", 0, "<|image_pad|>"),
        ("tiny_qwen2_5_vl", 0, "<|image_pad|>"),
        ("tiny_qwen3_vl", 0, "<|image_pad|>"),
        ("tiny_internvl", 0, "<IMG_CONTEXT>"),
        ("tiny_gemma3", 16, "<image_soft_token>"),
    ],
)
def test_facts_of_the_tiny_models(request, name, tokens, placeholder):
    path = request.getfixturevalue(name)
    model, codec = facts(path), ChatCodec(path)
    assert (model.context, model.image_tokens, model.forest_obstacle) == (CONTEXT, tokens, "")
    assert (
        model.image_token
        == codec.image_token_id
        == codec.tokenizer.convert_tokens_to_ids(placeholder)
    )
    assert model.architecture is codec.architecture
    assert facts(path, max_length=CONTEXT - 1).context == CONTEXT - 1


def rewrite(file, change):
    tree = json.loads(file.read_text())
    change(tree)
    file.write_text(json.dumps(tree))


@pytest.fixture
def copied(path, tmp_path):
    return shutil.copytree(path, tmp_path / "model")


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.pop("text_config"),
        lambda tree: tree.update(text_config=None),
        lambda tree: tree["text_config"].update(max_position_embeddings="long"),
        lambda tree: [tree.pop(key, None) for key in ("image_token_id", "image_token_index")],
        lambda tree: tree.update(architectures=["LlavaNextForConditionalGeneration"]),
        lambda tree: (
            tree["text_config"].pop("vocab_size")
            and tree["text_config"].update(model_type="unheard-of")
        ),
    ],
)
def test_a_wrong_configuration_is_a_model_error(copied, change):
    rewrite(copied / "config.json", change)
    with pytest.raises(ModelError) as caught:
        facts(copied)
    assert "\n" not in str(caught.value)


def test_windows_of_attention():
    """By the list of layers, or by the older keys; none if it is as long as the context."""
    mistral = {"sliding_window": 64}
    assert attention_window(mistral, 160) == 64
    assert attention_window(mistral, 64) is None
    assert attention_window(mistral | {"use_sliding_window": False}, 160) is None
    assert attention_window({"sliding_window": None}, 160) is None
    mixed = {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
    assert layer_kinds(mixed) == {"sliding_attention", "full_attention"}
    assert attention_window(mixed, 160) == 64
    assert attention_window(mixed | {"layer_types": ["full_attention"] * 2}, 160) is None


def test_recurrent_layers_rule_out_trees(copied):
    def change(tree):
        layers = ["linear_attention", "full_attention", "full_attention", "full_attention"]
        tree["text_config"]["layer_types"] = layers[: tree["text_config"]["num_hidden_layers"]]

    rewrite(copied / "config.json", change)
    assert "layers of linear_attention" in facts(copied).forest_obstacle


def test_values_missing_in_a_configuration_are_the_defaults_of_its_model_type():
    """transformers 4 wrote only differences: a Mistral without a window has one of 4096."""
    mistral = {"text_config": {"model_type": "mistral", "vocab_size": 99}}
    assert text_config(mistral)["max_position_embeddings"] == 131072
    assert attention_window(text_config(mistral), 131072) == 4096
    qwen = {"text_config": {"model_type": "qwen2"}}
    assert text_config(qwen)["max_position_embeddings"] == 32768
    assert text_config(qwen)["vocab_size"] == 151936
    assert attention_window(text_config(qwen), 32768) is None


def to_older_layout(path):
    """As Qwen published it: the text model's keys at the top, one preprocessor file."""

    def flatten(tree):
        text = tree.pop("text_config")
        rope = text.pop("rope_parameters")
        text |= {"rope_theta": rope["rope_theta"], "torch_dtype": tree.pop("dtype")}
        text["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
        text |= {"sliding_window": 4 * CONTEXT, "use_sliding_window": False}
        tree["vision_config"].pop("rope_parameters")
        tree |= {key: value for key, value in text.items() if key != "layer_types"}
        tree["model_type"] = "qwen2_5_vl"

    rewrite(path / "config.json", flatten)
    processor = json.loads((path / "processor_config.json").read_text())
    images = processor["image_processor"]
    size = images.pop("size")
    images |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    images["processor_class"] = processor["processor_class"]
    (path / "preprocessor_config.json").write_text(json.dumps(images))
    (path / "processor_config.json").unlink()
    template = (path / "chat_template.jinja").read_text()
    (path / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    (path / "chat_template.jinja").unlink()
    return path


def test_the_older_layout_of_qwen_is_the_same_model(tiny_qwen2_5_vl, tmp_path):
    older = to_older_layout(shutil.copytree(tiny_qwen2_5_vl, tmp_path / "older"))
    now, then = facts(tiny_qwen2_5_vl), facts(older)
    for what in ("architecture", "context", "image_tokens", "image_token", "forest_obstacle"):
        assert getattr(now, what) == getattr(then, what)
    codecs = ChatCodec(tiny_qwen2_5_vl), ChatCodec(older)
    encoded = [codec.encode(QUESTION, IMAGES[0]) for codec in codecs]
    assert np.array_equal(encoded[0][0], encoded[1][0])
    assert np.array_equal(encoded[0][1][0], encoded[1][1][0])
    models = [load_model(path, "float32").eval() for path in (tiny_qwen2_5_vl, older)]
    text = codecs[0].render(QUESTION)
    logps = [plain.token_logps(m, codecs[0].processor, text, IMAGES[0], [270, 280]) for m in models]
    assert np.array_equal(*logps)
