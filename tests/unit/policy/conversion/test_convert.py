"""`medray convert`: the same tokens, pixels and logits as the original code computes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from medray.config import ModelConfig
from medray.policy.conversion import tower, weights
from medray.policy.conversion.convert import convert
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import model_facts
from tests.support.models import original_checkpoints as originals
from tests.support.models.original_checkpoints import (
    IMAGE_TOKEN_INDEX,
    MEAN,
    PATCHES,
    STD,
    Original,
    change,
)
from tests.support.paths import ROOT

QUESTIONS = ("Is there a nodule?", "Größe der Läsion — 肺?", "a  b\n\nc 12")
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 45, 3), dtype=np.uint8)
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module", autouse=True)
def named_tower():
    """A small tower that is known by its name, like CLIP ViT-L/14-336."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tower.KNOWN_TOWERS, "clip-vit-tiny", originals.CLIP)
        yield


@dataclass
class Case:
    original: Original
    out: Path
    codec: ChatCodec
    image_id: int


def med_inside(path):
    return originals.build_llava_med(path), None


def med_with_separate_tower(path):
    built = originals.build_llava_med(path, inside=False)
    built.tower.save_pretrained(path.parent / "clip")
    return built, path.parent / "clip"


def med_with_separate_clip(path):
    built = originals.build_llava_med(path, inside=False)
    return built, originals.write_clip(path.parent / "clip", built.tower)


def huatuo_with_shipped_tower(path):
    return originals.build_huatuo(path), None


def huatuo_inside_with_another_shipped(path):
    return originals.build_huatuo(path, inside=True, image_aspect_ratio="anyres"), None


BUILDERS = (
    med_inside,
    med_with_separate_tower,
    med_with_separate_clip,
    huatuo_with_shipped_tower,
    huatuo_inside_with_another_shipped,
)


def make(builder, folder) -> Case:
    original, clip = builder(folder / "original")
    converted = convert(original.path, folder / "made", clip)
    return Case(original, folder / "made", ChatCodec(folder / "made"), converted.image_id)


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda b: b.__name__)
def case(request, tmp_path_factory, named_tower):
    return make(request.param, tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def med(tmp_path_factory, named_tower):
    return make(med_inside, tmp_path_factory.mktemp("med"))


@pytest.fixture(scope="module")
def huatuo(tmp_path_factory, named_tower):
    return make(huatuo_with_shipped_tower, tmp_path_factory.mktemp("huatuo"))


# --- the same computation -----------------------------------------------------------------


def test_transformers_loads_every_weight_and_computes_the_original_logits(case):
    model, info = AutoModelForImageTextToText.from_pretrained(
        case.out, dtype="float32", output_loading_info=True
    )
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert not any(info.values()), info
    for question in QUESTIONS:
        theirs = case.original.prompt(question)
        ids, (pixels,) = case.codec.encode(question, IMAGE)
        wanted = originals.original_logits(case.original, theirs, pixels)
        with torch.no_grad():
            got = model(
                input_ids=torch.from_numpy(ids)[None], pixel_values=torch.from_numpy(pixels)[None]
            ).logits[0]
        assert got.shape == (len(theirs) - 1 + PATCHES, case.original.rows)
        assert wanted.std() > 0.1  # the weights have an effect
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("question", QUESTIONS)
def test_prompts_have_the_original_tokens(case, question):
    wanted = [
        case.image_id if t == IMAGE_TOKEN_INDEX else t for t in case.original.prompt(question)
    ]
    assert case.codec.prompt_ids(question) == wanted
    long = case.codec.encode(question, IMAGE)[0].tolist()
    start = wanted.index(case.image_id)
    assert long == [*wanted[:start], *[case.image_id] * PATCHES, *wanted[start + 1 :]]


def test_medray_accepts_the_converted_model(case):
    facts = model_facts(ModelConfig(path=str(case.out)))
    assert (facts.context, facts.image_tokens, facts.image_token) == (512, PATCHES, case.image_id)
    assert facts.architecture.name == "LlavaForConditionalGeneration"
    assert case.codec.tokenizer.convert_tokens_to_ids("<image>") == case.image_id
    assert case.image_id < case.original.rows


def test_weights_keep_their_bits_and_their_dtype(med, tmp_path):
    half = shutil.copytree(med.original.path, tmp_path / "half")
    for file in half.glob("*.safetensors"):
        content = {
            n: w.bfloat16() if w.is_floating_point() else w for n, w in load_file(file).items()
        }
        save_file(content, file, {"format": "pt"})
    change(half, torch_dtype="bfloat16")
    convert(half, tmp_path / "made")
    files = sorted((tmp_path / "made").glob("*.safetensors"))
    written = {n: w for file in files for n, w in load_file(file).items()}
    assert {w.dtype for w in written.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "made/config.json").read_text())["dtype"] == "bfloat16"
    theirs = med.original.model.state_dict()["model.layers.1.mlp.up_proj.weight"]
    ours = written["language_model.model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(ours, theirs.bfloat16())


def test_large_files_are_written_as_smaller_ones(med, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", 50_000)
    convert(med.original.path, tmp_path / "made")
    files = sorted((tmp_path / "made").glob("*.safetensors"))
    assert len(files) > 5
    index = json.loads((tmp_path / "made" / INDEX).read_text())
    total, names = 0, {}
    for file in files:
        content = load_file(file)
        size = sum(w.numel() * w.element_size() for w in content.values())
        assert size <= 50_000 or len(content) == 1
        total += size
        names |= dict.fromkeys(content, file.name)
    assert index == {"metadata": {"total_size": total}, "weight_map": names}
    unsplit = {n: w for f in med.out.glob("*.safetensors") for n, w in load_file(f).items()}
    parts = {n: w for f in files for n, w in load_file(f).items()}
    assert unsplit.keys() == parts.keys()
    assert all(torch.equal(unsplit[name], parts[name]) for name in unsplit)


# --- prompts ------------------------------------------------------------------------------


def test_prompts_by_hand(med, huatuo):
    assert med.codec.render(" Which side?\n") == "<s>[INST] <image>\nWhich side? [/INST]"
    assert huatuo.codec.render("Which side?") == "<|user|>\n<image>\nWhich side?\n<|assistant|>\n"


def test_turns_by_hand(med, huatuo):
    turns = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
        {"role": "user", "content": "R"},
    ]
    rendered = [
        c.codec.processor.apply_chat_template(turns, add_generation_prompt=True)
        for c in (med, huatuo)
    ]
    assert rendered[0] == "<s>[INST] <image>\nQ [/INST] A</s>[INST] R [/INST]"
    assert rendered[1] == "<|user|>\n<image>\nQ\n<|assistant|>\nA \n<|user|>\nR\n<|assistant|>\n"


def test_the_tokens_that_end_an_answer(med, huatuo):
    tokens = [c.codec.tokenizer for c in (med, huatuo)]
    assert [t.eos_token for t in tokens] == ["</s>", "<|endoftext|>"]
    assert [t.pad_token for t in tokens] == ["<unk>", "<|endoftext|>"]
    for token, converted in zip(tokens, (med, huatuo), strict=True):
        generation = json.loads((converted.out / "generation_config.json").read_text())
        assert generation["eos_token_id"] == token.eos_token_id


# --- the placeholder ----------------------------------------------------------------------


def test_the_id_of_the_image(med, huatuo):
    """The byte piece 0xFF (Llama's are 3 to 258); Qwen2's first row without a token."""
    assert med.image_id == 3 + 0xFF
    assert huatuo.image_id == huatuo.original.rows - 9


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_is_encoded_to_the_id_of_the_image(med, huatuo, text):
    for converted in (med, huatuo):
        plain = text.replace("<image>", "")
        assert converted.image_id not in converted.codec.tokenizer.encode(plain)


@pytest.mark.parametrize(
    "text", ["<0xFF>", "ÿ", "\x00\x7f", "肺 🫁 ÿ<0xFF>", "İ\u202e", *QUESTIONS]
)
def test_other_text_keeps_its_tokens(med, huatuo, text):
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(str(med.original.path / "tokenizer.model"))
    tokenizer = med.codec.tokenizer
    assert tokenizer.encode(text, add_special_tokens=False) == pieces.encode(text)
    assert tokenizer.encode(text) == [1, *pieces.encode(text)]
    assert tokenizer.decode(pieces.encode(text)) == text
    assert huatuo.codec.tokenizer.decode(huatuo.codec.tokenizer.encode(text)) == text


def test_one_free_row_is_enough(tmp_path):
    original = originals.build_huatuo(tmp_path / "original", free=1)
    assert convert(original.path, tmp_path / "made").image_id == original.rows - 1


# --- images -------------------------------------------------------------------------------


def by_hand(image: np.ndarray, *, pad: bool) -> np.ndarray:
    """expand2square and CLIP's preprocessing, with PIL as in the originals: [3, 32, 32]."""
    picture, size = Image.fromarray(image), originals.IMAGE_SIZE
    width, height = picture.size
    if pad:
        side = max(width, height)
        square = Image.new("RGB", (side, side), tuple(int(255 * m) for m in MEAN))
        square.paste(picture, ((side - width) // 2, (side - height) // 2))
        picture, width, height = square, side, side
    short = min(width, height)
    picture = picture.resize((int(size * width / short), int(size * height / short)), 3)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    cut = picture.crop((left, top, left + size, top + size))
    return ((np.asarray(cut, np.float64) / 255 - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", [(20, 45, 3), (90, 41, 3), (32, 32, 3)])
@pytest.mark.parametrize("ratio", ["pad", "square"])
def test_pixels_are_the_original_ones(med, tmp_path, ratio, shape):
    """Up to one grey level: torchvision's bicubic rounds differently from PIL's."""
    copy = shutil.copytree(med.original.path, tmp_path / "original")
    change(copy, image_aspect_ratio=ratio)
    convert(copy, tmp_path / "made")
    noise = np.random.default_rng(1).integers(30, 220, (6, 5, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(noise).resize(shape[1::-1], Image.Resampling.BICUBIC))
    got = ChatCodec(tmp_path / "made").pixels(image)
    levels = np.abs(got - by_hand(image, pad=ratio == "pad")) * np.array(STD)[:, None, None] * 255
    assert levels.max() < 1.01
    assert levels.mean() < 0.1


def test_huatuo_pads_regardless_of_its_configuration(huatuo):
    """cli.py: `if True or … == 'pad'`."""
    assert json.loads((huatuo.original.path / "config.json").read_text())["image_aspect_ratio"] == (
        "square"
    )
    flat = np.full((20, 45, 3), 200, dtype=np.uint8)
    levels = np.abs(huatuo.codec.pixels(flat) - by_hand(flat, pad=True)) * 255 * max(STD)
    assert levels.max() < 1.1
    cut = np.abs(huatuo.codec.pixels(flat) - by_hand(flat, pad=False)) * 255 * min(STD)
    assert cut.max() > 50


# --- the command --------------------------------------------------------------------------


def test_the_command_as_a_process(huatuo, tmp_path):
    """Into an existing, empty folder; it prints one line and nothing else."""
    (tmp_path / "made").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "medray.cli", "convert", str(huatuo.original.path), "-o", "made"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("made: HuatuoGPT-Vision-7B: 86 tensors, 6 left out; ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]
    tops = {
        name.split(".")[0]
        for f in (tmp_path / "made").glob("*.safetensors")
        for name in load_file(f)
    }
    assert tops == {"language_model", "multi_modal_projector", "vision_tower"}
