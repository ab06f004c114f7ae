"""`medray check` on model directories that look complete and cannot start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.policy.model import chat
from medray.policy.model.inspection import inspect_model
from medray.policy.model.loading import model_facts
from tests.support.broken_models import POINTER, VARIANTS, processor, rewrite, sharded, weights

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


def check(path: Path, **model) -> None:
    config = ModelConfig(path=str(path), **model)
    inspect_model(model_facts(config), config)


@pytest.fixture
def copied(tiny_llava, tmp_path):
    return Path(shutil.copytree(tiny_llava, tmp_path / "model"))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_directory_that_cannot_start_is_refused_for_the_true_cause(name, copied, monkeypatch):
    monkeypatch.setattr(chat, "TEMPLATE_SECONDS", 1.0)
    change, why = VARIANTS[name]
    check(copied)
    change(copied)
    with pytest.raises(ModelError, match=why) as caught:
        check(copied)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert str(copied) in message


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    "tuning",
    [{}, {"lora": None, "trainable": GROUPS}, {"lora": LoraConfig(targets=("language", "vision"))}],
)
def test_complete_directories_pass(name, tuning, request):
    check(request.getfixturevalue(name), **tuning)


def test_shards_with_an_index_pass(copied):
    sharded(copied)
    check(copied)


def test_odd_files_that_do_no_harm_pass(copied):
    (copied / "generation_config.json").write_text("{not json")
    rewrite(copied / "config.json", lambda tree: tree.update(auto_map={"AutoModel": "x.Y"}))
    (copied / "consolidated.safetensors").write_text(POINTER)
    check(copied)


def test_buffers_that_older_checkpoints_hold_are_no_sign_of_quantisation(copied):
    name = "vision_tower.vision_model.embeddings.position_ids"
    weights(lambda tensors: tensors.update({name: torch.arange(5)[None]}))(copied)
    check(copied)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"patch_size": 2}, "a patch has .* values, not 96"),
        ({"temporal_patch_size": 1}, "a patch has 48 values, not 96"),
        ({"merge_size": 1}, "makes .* tokens of an image"),
    ],
)
def test_a_processor_of_another_qwen_is_refused(change, why, tiny_qwen2_5_vl, tmp_path):
    copied = shutil.copytree(tiny_qwen2_5_vl, tmp_path / "model")
    processor(lambda tree: tree["image_processor"].update(change))(copied)
    with pytest.raises(ModelError, match=why):
        check(copied)
