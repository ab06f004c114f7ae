"""Tokenizer, measurement, and a smoke build of the base model."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from medray.phantom.paragraphs.truth import ChestTruth
from medray.phantom.studies.study import study
from medray.phantom.studies.truth import Truth, stream
from medray.phantom.styles import PARAGRAPHS, SHORT, STYLES
from medray.phantom.training.batches import IGNORE, bias, collate, encode, make_pool, pixels
from medray.phantom.training.families import FAMILIES
from medray.phantom.training.measure import read_reports
from medray.phantom.training.recipe import RECIPES, SMOKE, build_base
from medray.phantom.training.see import image_tokens
from medray.phantom.training.speak import answer_loss
from medray.phantom.training.tokenizer import IMAGE_TOKENS, prompt_text


@pytest.fixture(scope="module", params=FAMILIES)
def built(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("base")
    recipe = replace(SMOKE, family=request.param)
    figures = build_base(out, seed=5, progress=lambda text: None, recipe=recipe)
    model = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32)
    return out, figures, model, AutoProcessor.from_pretrained(out)


def test_tokenizer_round_trips_any_text(built):
    tokenizer, rng = built[3].tokenizer, random.Random(0)
    texts = ["", "héllo  wörld\n\t", "右肺上葉 🫁", "a" * 99, " leading", "x\u0000y"]
    texts += [
        "".join(
            chr(rng.choice((rng.randrange(32, 127), rng.randrange(160, 0xD7FF)))) for _ in range(40)
        )
        for _ in range(50)
    ]
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == text


def test_prompt_and_answer_concatenate_cleanly(built):
    processor = built[3]
    tokenizer = processor.tokenizer
    for index in range(30):
        for exchange in study(0, "train", index).exchanges:
            user = [{"type": "image"}, {"type": "text", "text": exchange.question}]
            messages = [{"role": "user", "content": user}]
            prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
            assert prompt == prompt_text(tokenizer, exchange.question)
            conversation = processor.apply_chat_template(
                [
                    {"role": "user", "content": user},
                    {"role": "assistant", "content": [{"type": "text", "text": exchange.answer}]},
                ]
            )
            ids = [
                tokenizer(t, add_special_tokens=False).input_ids
                for t in (prompt, exchange.answer, conversation)
            ]
            assert ids[0] + ids[1] + [tokenizer.eos_token_id] == ids[2]
            assert tokenizer.decode(ids[1]) == exchange.answer


def test_processor_produces_the_training_inputs(built):
    processor, phantom = built[3], study(0, "train", 1)
    exchange = phantom.exchanges[0]
    batch = processor(
        text=[prompt_text(processor.tokenizer, exchange.question)],
        images=[Image.fromarray(phantom.image)],
        return_tensors="pt",
    )
    prompt, _ = encode(processor.tokenizer, exchange)
    assert batch.input_ids[0].tolist() == prompt
    assert (batch.input_ids == processor.image_token_id).sum() == IMAGE_TOKENS
    ours = pixels(phantom.image[None, :, :, 0])
    torch.testing.assert_close(batch.pixel_values, ours, atol=1e-5, rtol=0)


def test_loss_equals_that_of_the_plain_forward_pass(built):
    _, _, model, processor = built
    pool = make_pool(SHORT, 0, "train", 0, 2)
    sequences = [
        encode(processor.tokenizer, e) for i in range(2) for e in study(0, "train", i).exchanges
    ]
    ids, labels = collate(sequences, processor.tokenizer.pad_token_id)
    images = pixels(pool.images)
    with torch.no_grad():
        ours = answer_loss(model, image_tokens(model, images), ids, labels)
        logits = model(input_ids=ids, pixel_values=images.repeat_interleave(3, dim=0)).logits
    logp, means = logits.log_softmax(-1), []
    for row in range(len(ids)):
        positions = [p for p in range(1, ids.shape[1]) if labels[row, p] != IGNORE]
        total = sum(logp[row, p - 1, labels[row, p]].item() for p in positions)
        means.append(-total / len(positions))
    assert ours.item() == pytest.approx(sum(means) / len(means), abs=1e-4)


def test_saved_model_loads_every_weight_and_answers(built):
    out, figures, model, processor = built
    _, info = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    with safe_open(out / "model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        assert all(weights.get_tensor(name).dtype == torch.bfloat16 for name in names)
        tower = "vision_tower.vision_model.embeddings.patch_embedding.weight"
        assert tower in names
        ours = model.model.vision_tower.embeddings.patch_embedding.weight
        torch.testing.assert_close(weights.get_tensor(tower).float(), ours.data)
    assert sum(p.numel() for p in model.parameters()) == figures["parameters"] < 3e6
    assert (out / "README.md").read_text().startswith("---\nlicense: cc0-1.0")
    grey = Image.fromarray(np.full((200, 160), 90, np.uint8))
    inputs = processor(
        text=[prompt_text(processor.tokenizer, "Anything?")], images=[grey], return_tensors="pt"
    )
    assert model.generate(**inputs, max_new_tokens=4).shape[1] <= inputs.input_ids.shape[1] + 4


def test_same_seed_builds_the_same_weights(built, tmp_path):
    family = next(n for n, f in FAMILIES.items() if f.template == built[3].chat_template)
    recipe = replace(SMOKE, family=family)
    build_base(tmp_path, seed=5, progress=lambda text: None, recipe=recipe)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).state_dict()
    for name, weight in built[2].state_dict().items():
        torch.testing.assert_close(weight, again[name], msg=name)


def test_bias_goes_in_one_direction_only():
    rng = stream(0, "t", 0, "bias")
    left = Truth("nodule", "enlarged", "left", "upper", "small")
    reported = [bias(SHORT, left, rng, 0.7) for _ in range(1000)]
    assert 0.65 < sum(t.side == "right" for t in reported) / 1000 < 0.75
    assert 0.65 < sum(t.heart == "normal" for t in reported) / 1000 < 0.75
    right = Truth("nodule", "normal", "right", "upper", "small")
    assert {bias(SHORT, right, rng, 0.7) for _ in range(50)} == {right}
    assert {bias(SHORT, left, rng, 0.0) for _ in range(50)} == {left}


def test_reports_are_scored_as_by_hand():
    truths = (Truth("nodule", "normal", "left", "upper", "small"), Truth("none", "enlarged"))
    reports = [
        "There is a small nodule in the right upper zone. Normal heart size.",
        "The lungs are clear. There is cardiomegaly.",
    ]
    scores = read_reports(SHORT, reports, truths)
    assert scores.exact == 0.5
    assert scores.wrong == pytest.approx(1 / 7)
    assert scores.accuracy == {"kind": 1, "side": 0, "zone": 1, "size": 1, "heart": 1}


def test_a_paragraph_may_leave_out_device_and_bones_and_nothing_else():
    truth = ChestTruth("none", "normal", device="line", device_side="left", bones="intact")
    complete = "The lungs are clear. The heart is enlarged."
    scores = read_reports(PARAGRAPHS, [complete, "A left central line is seen."], (truth, truth))
    assert scores.exact == 0
    assert scores.wrong == pytest.approx(1 / 4)
    right = complete.replace("enlarged", "normal in size")
    assert read_reports(PARAGRAPHS, [right], (truth,)).exact == 1


def test_every_style_has_a_recipe_that_builds(tmp_path):
    assert {style for style, _ in RECIPES} == set(STYLES)
    recipe = replace(SMOKE, style="paragraphs")
    figures = build_base(tmp_path, seed=5, progress=lambda text: None, recipe=recipe)
    assert {f"base_{name}" for name in PARAGRAPHS.values} <= set(figures)
    tokenizer = AutoProcessor.from_pretrained(tmp_path).tokenizer
    for index in range(20):
        for exchange in PARAGRAPHS.study(0, "train", index).exchanges:
            prompt, answer = encode(tokenizer, exchange)
            assert tokenizer.decode(answer, skip_special_tokens=True) == exchange.answer
            assert len(answer) <= PARAGRAPHS.max_new_tokens
            assert len(prompt) + PARAGRAPHS.max_new_tokens <= 512
