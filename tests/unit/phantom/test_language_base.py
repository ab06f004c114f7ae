"""A base model that begins as a language model: a tiny stand-in goes through every stage."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tokenizers import AddedToken, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)
from typer.testing import CliRunner

from medray.cli.phantom import app
from medray.errors import ModelError
from medray.phantom import BASE_PATH
from medray.phantom.studies.study import study
from medray.phantom.styles import SHORT
from medray.phantom.training.batches import encode, make_pool, pixels
from medray.phantom.training.language import load_language
from medray.phantom.training.optimise import Stage
from medray.phantom.training.recipe import SMOKE, build_base
from medray.phantom.training.speak import learn_to_speak
from medray.phantom.training.tokenizer import IMAGE_TOKENS, prompt_text
from tests.support.models.tiny_chat_model import build_tiny_chat_model


@pytest.fixture(scope="module", params=[False, True], ids=["own-head", "tied"])
def built(request, tmp_path_factory):
    """(directory of the language model, of the base built from it, its model, processor)"""
    folder = tmp_path_factory.mktemp("language")
    start = build_tiny_chat_model(folder / "tiny-chat", tied=request.param)
    recipe = replace(SMOKE, mixed=True)
    build_base(folder / "base", seed=5, progress=lambda text: None, recipe=recipe, language=start)
    model = AutoModelForImageTextToText.from_pretrained(folder / "base", dtype=torch.float32)
    return start, folder / "base", model, AutoProcessor.from_pretrained(folder / "base")


def test_every_weight_is_loaded_and_only_projector_and_layers_have_learnt(built):
    start, out, model, _ = built
    _, info = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    began = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    tower = AutoModelForImageTextToText.from_pretrained(BASE_PATH, dtype=torch.float32)
    words = began.get_input_embeddings().weight
    assert torch.equal(model.get_input_embeddings().weight[: len(words)], words)
    ours, shipped = (m.model.vision_tower.state_dict() for m in (model, tower))
    assert all(torch.equal(ours[name], shipped[name]) for name in shipped)
    layers = model.model.language_model.layers.state_dict()
    changed = [
        n for n, w in began.model.layers.state_dict().items() if not torch.equal(w, layers[n])
    ]
    assert len(changed) > len(layers) / 2
    tied = model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert tied == began.config.tie_word_embeddings


def test_prompts_are_the_training_inputs_and_end_where_answers_begin(built):
    processor = built[3]
    tokenizer = processor.tokenizer
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    for index in range(10):
        phantom = study(0, "train", index)
        for exchange in phantom.exchanges:
            prompt, answer = encode(tokenizer, exchange)
            text = prompt_text(tokenizer, exchange.question)
            assert "system" not in text
            batch = processor(
                text=[text], images=[Image.fromarray(phantom.image)], return_tensors="pt"
            )
            assert batch.input_ids[0].tolist() == prompt
            assert prompt.count(processor.image_token_id) == IMAGE_TOKENS
            ours = pixels(phantom.image[None, :, :, 0])
            torch.testing.assert_close(batch.pixel_values, ours, atol=1e-5, rtol=0)
            text += exchange.answer + tokenizer.eos_token
            joined = tokenizer(text.replace("<image>", "<image>" * IMAGE_TOKENS)).input_ids
            assert joined == prompt + answer
            assert tokenizer.decode(answer, skip_special_tokens=True) == exchange.answer


def test_its_card_says_where_it_is_from_and_whose_licence_holds(built):
    card = (built[1] / "README.md").read_text()
    assert card.startswith("---\nlicense: other")
    assert "decoder of tiny-chat" in card
    assert "random weights" not in card


def test_bf16_products_and_a_frozen_tower_learn_what_fp32_learns(tmp_path):
    start = build_tiny_chat_model(tmp_path / "chat")
    pool = make_pool(SHORT, 0, "base", 0, 8)
    losses = []
    for mixed in (False, True):
        torch.manual_seed(0)
        model, tokenizer = load_language(start)
        lines: list[str] = []
        stage = Stage(steps=100, batch=4, lr=3e-3)
        learn_to_speak(model, tokenizer, SHORT, pool, stage, lines.append, seed=0, mixed=mixed)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        losses.append(float(lines[-1].split("loss ")[1]))
    assert losses[0] < 2  # from log(340) = 5.8
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.fixture
def start(tmp_path):
    return build_tiny_chat_model(tmp_path / "chat")


def without_weights(start):
    (start / "model.safetensors").unlink()


def without_tokenizer(start):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (start / file).unlink()


def without_turns(start):
    text = (start / "tokenizer.json").read_text().replace("<|im_", "<|other_")
    (start / "tokenizer.json").write_text(text)
    settings = json.loads((start / "tokenizer_config.json").read_text())
    settings = {k: v for k, v in settings.items() if "token" not in k or k == "tokenizer_class"}
    (start / "tokenizer_config.json").write_text(json.dumps(settings))


def with_a_beginning(start):
    tokenizer = AutoTokenizer.from_pretrained(start)
    tokenizer.add_special_tokens({"bos_token": AddedToken("<|endoftext|>", special=True)})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A",
        special_tokens=[("<|endoftext|>", tokenizer.convert_tokens_to_ids("<|endoftext|>"))],
    )
    tokenizer.save_pretrained(start)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (shutil.rmtree, "no such directory"),
        (without_weights, "holds no language model"),
        (without_tokenizer, "its tokenizer has no"),
        (without_turns, "has no <|im_start|>"),
        (with_a_beginning, "begins or ends texts"),
    ],
)
def test_what_cannot_be_a_decoder_is_one_clear_line(start, spoil, why):
    spoil(start)
    with pytest.raises(ModelError) as caught:
        load_language(start)
    assert why in str(caught.value)
    assert str(caught.value).startswith(f"--language {start}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", ["--family=qwen2", "--style=paragraphs"])
def test_another_recipe_is_refused_beside_a_language_model(start, tmp_path, other):
    arguments = ["build", "-o", str(tmp_path / "out"), f"--language={start}", other]
    result = CliRunner().invoke(app, arguments)
    assert "not with --language" in str(result.exception)
    assert not (tmp_path / "out").exists()
