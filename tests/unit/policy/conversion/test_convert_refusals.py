"""`medray convert` on what it cannot convert: exit code 2, one line, nothing left on disk."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
import torch
from safetensors.torch import save_file

from medray import cli
from medray.errors import UserError
from medray.policy.conversion import tower, weights
from medray.policy.conversion.convert import convert
from tests.support.models import original_checkpoints as originals
from tests.support.models.original_checkpoints import INDEX, change, rewrite


@pytest.fixture(scope="module", autouse=True)
def named_tower():
    """A small tower that is known by its name, like CLIP ViT-L/14-336."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tower.KNOWN_TOWERS, "clip-vit-tiny", originals.CLIP)
        yield


@pytest.fixture(scope="module")
def med(tmp_path_factory):
    """A LLaVA-Med that can be converted."""
    return originals.build_llava_med(tmp_path_factory.mktemp("med") / "original").path


def without(name):
    return lambda content: {n: w for n, w in content.items() if name not in n}


def pickled(path):
    for file in [*path.glob("*.safetensors"), *path.glob("*.json")]:
        if file.suffix == ".safetensors":
            file.rename(file.with_suffix(".bin"))
        elif "index" in file.name:
            file.unlink()


def truncated(path):
    file = sorted(path.glob("*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])


def one_file_lost(path):
    sorted(path.glob("*.safetensors"))[0].unlink()


def no_tokenizer(path):
    for file in path.glob("tokenizer*"):
        file.unlink()


def extra(name, shape=(2, 2)):
    return lambda path: rewrite(path, lambda content: content | {name: torch.ones(shape)})


WRONG = {
    "pickled": (pickled, "only pickled weights — medray does not unpickle"),
    "unknown-key": (extra("model.image_newline"), "unknown weights: model.image_newline"),
    "more-layers": (
        extra("model.layers.7.mlp.up_proj.weight"),
        "unknown weights: model.layers.7.mlp.up_proj.weight",
    ),
    "no-tower": (lambda p: rewrite(p, without("vision_tower")), "give --vision-tower DIR"),
    "no-head": (lambda p: rewrite(p, without("lm_head")), "weights are missing: lm_head.weight"),
    "no-embedding": (
        lambda p: rewrite(p, without("embed_tokens")),
        "missing: model.embed_tokens.weight",
    ),
    "half-a-tower": (
        lambda p: rewrite(p, without("vision_model.encoder.layers.2")),
        "weights are missing: model.vision_tower.encoder.layers.2.",
    ),
    "truncated": (truncated, "not a readable safetensors file"),
    "file-lost": (one_file_lost, "is in the index but not on the disk"),
    "index": (lambda p: (p / INDEX).write_text("{}"), INDEX),
    "projector": (lambda p: change(p, mm_projector_type="linear"), "only mlp2x_gelu can"),
    "no-projector": (lambda p: change(p, mm_projector_type=...), "mm_projector_type = linear"),
    "anyres": (lambda p: change(p, image_aspect_ratio="anyres"), "image_aspect_ratio = anyres"),
    "class-token": (
        lambda p: change(p, mm_vision_select_feature="cls_patch"),
        "only patch can be converted",
    ),
    "markers": (lambda p: change(p, mm_use_im_start_end=True), "mm_use_im_start_end = True"),
    "layer": (lambda p: change(p, mm_vision_select_layer=-5), "mm_vision_select_layer -5"),
    "shape": (lambda p: change(p, intermediate_size=95), "but config.json says [64, 95]"),
    "size": (lambda p: change(p, hidden_size="big"), "is wrong"),
    "other-class": (
        lambda p: change(p, architectures=["LlavaLlamaForCausalLM"]),
        "LlavaLlamaForCausalLM cannot be converted — give one of LlavaMistralForCausalLM (LLaVA",
    ),
    "no-class": (lambda p: change(p, architectures=...), "names no architecture"),
    "tower-name": (
        lambda p: change(p, mm_vision_tower="google/siglip"),
        "mm_vision_tower = google/siglip",
    ),
    "config": (lambda p: (p / "config.json").write_text("{"), "config.json: unreadable"),
    "no-config": (lambda p: (p / "config.json").unlink(), "no directory with a config.json"),
    "no-tokenizer": (no_tokenizer, "no usable tokenizer"),
    "few-rows": (
        lambda p: (
            rewrite(
                p,
                lambda c: (
                    c | {n: c[n][:300] for n in ("lm_head.weight", "model.embed_tokens.weight")}
                ),
            ),
            change(p, vocab_size=300),
        ),
        "its tokenizer has 352 tokens, its embedding 300 rows",
    ),
}


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """Run `medray convert ARGUMENTS` in tmp_path; returns its one line, checks the disk."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # main() sets them: undo that

    def run(*arguments):
        before = {str(p): p.stat().st_size for p in tmp_path.rglob("*")}
        monkeypatch.setattr(sys, "argv", ["medray", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == 2
        assert err.startswith("medray: "), err
        assert err.count("\n") == 1, err
        assert out == ""
        assert {str(p): p.stat().st_size for p in tmp_path.rglob("*")} == before
        return err

    return run


@pytest.mark.parametrize("wrong", WRONG)
def test_a_checkpoint_that_cannot_be_converted_is_refused(refused, med, tmp_path, wrong):
    spoil, message = WRONG[wrong]
    spoil(shutil.copytree(med, tmp_path / "original"))
    assert message in refused("original", "-o", "made")


def test_a_model_in_the_transformers_layout_is_refused_with_a_hint(refused, med, tmp_path):
    convert(med, tmp_path / "converted")
    line = refused("converted", "-o", "made")
    assert "is in the transformers layout already (LlavaForConditionalGeneration)" in line
    assert "use it as model.path" in line


def test_nothing_is_overwritten(refused, med, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out in ("made", "file"):
        assert "already exists and is not empty" in refused(med, "-o", out)
    assert "cannot be written" in refused(med, "-o", "file/made")
    assert "no directory with a config.json" in refused("nowhere", "-o", "new")


def test_wrong_vision_towers_are_refused(refused, tmp_path):
    original = originals.build_llava_med(tmp_path / "original", inside=False)
    clip = originals.write_clip(tmp_path / "clip", original.tower)
    arguments = ("original", "-o", "made", "--vision-tower")
    assert "no-such" in refused(*arguments, "no-such")
    assert "is not a CLIP model (model_type llava_mistral)" in refused(*arguments, "original")
    preprocessor = (clip / "preprocessor_config.json").read_text()
    (clip / "preprocessor_config.json").write_text(preprocessor.replace("32", "24"))
    assert "its images are 24 px, its tower takes 32 px" in refused(*arguments, "clip")
    (clip / "model.safetensors").rename(clip / "pytorch_model.bin")
    assert "only pickled weights" in refused(*arguments, "clip")


def test_a_tokenizer_without_an_id_for_the_image_is_refused(refused, tmp_path):
    originals.build_huatuo(tmp_path / "original", free=0)
    assert "neither a free row nor an unused byte" in refused("original", "-o", "made")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_nothing_partially_written_is_left(med, tmp_path, monkeypatch, error):
    monkeypatch.setattr(weights, "SHARD_BYTES", 50_000)
    calls = []

    def fails(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise error
        save_file(*arguments, **options)

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        convert(med, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert "made: cannot be written (disk full)" in str(caught.value)
