"""Adapters on disk: plain LoRA is taken, and anything else is refused for the true cause."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.policy.model.inspection import inspect_model
from medray.policy.model.loading import load_model, model_facts

LAYERS = r".*language_model.*\.(q_proj|v_proj)"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": LAYERS}
LORA = LoraConfig(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def base(tiny_llava):
    return load_model(tiny_llava, "float32")


def saved(base, path: Path, settings: peft.PeftConfig) -> Path:
    """An adapter as PEFT itself writes one."""
    model = peft.get_peft_model(copy.deepcopy(base), settings)
    model.save_pretrained(path)
    return path


@pytest.fixture
def plain(base, tmp_path):
    return saved(base, tmp_path / "adapter", peft.LoraConfig(**PLAIN))


def check(model: Path, adapter: Path, lora: LoraConfig = LORA) -> None:
    config = ModelConfig(path=str(model), adapter=str(adapter), lora=lora)
    inspect_model(model_facts(config), config)


def refused(model: Path, adapter: Path, why: str) -> None:
    with pytest.raises(ModelError, match=why) as caught:
        check(model, adapter)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_plain_lora_passes(tiny_llava, plain):
    check(tiny_llava, plain)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"alpha_pattern": {"q_proj": 64}}, r'has alpha_pattern \{"q_proj": 64\}'),
        ({"rank_pattern": {"q_proj": 8}}, r'has rank_pattern \{"q_proj": 8\}'),
        ({"modules_to_save": ["lm_head"]}, r'has modules_to_save \["lm_head"\]'),
        ({"use_dora": True}, "has use_dora true"),
        ({"bias": "lora_only"}, 'has bias "lora_only"'),
        ({"lora_bias": True}, "has lora_bias true"),
        ({"init_lora_weights": "olora"}, "olora, which changes the weights of its model"),
        ({"trainable_token_indices": [5]}, r"has trainable_token_indices \[5\]"),
    ],
)
def test_an_option_that_training_export_or_generators_would_read_wrongly(
    options, why, base, tiny_llava, tmp_path
):
    refused(tiny_llava, saved(base, tmp_path / "a", peft.LoraConfig(**PLAIN | options)), why)


@pytest.mark.parametrize(
    "options", [{"exclude_modules": "no.such"}, {"init_lora_weights": "gaussian"}, {"bias": "none"}]
)
def test_options_that_change_nothing_pass(options, base, tiny_llava, tmp_path):
    check(tiny_llava, saved(base, tmp_path / "a", peft.LoraConfig(**PLAIN | options)))


@pytest.mark.parametrize(
    "settings",
    [
        peft.IA3Config(target_modules=LAYERS, feedforward_modules=[]),
        peft.LoHaConfig(target_modules=LAYERS),
        peft.VeraConfig(target_modules=LAYERS.replace("|v_proj", "")),
    ],
    ids=lambda settings: settings.peft_type.value,
)
def test_another_kind_of_adapter(settings, base, tiny_llava, tmp_path):
    adapter = saved(base, tmp_path / "a", settings)
    refused(tiny_llava, adapter, f"is of the kind {settings.peft_type.value}, not LORA")


def test_an_option_of_a_newer_peft(tiny_llava, plain):
    rewrite(plain, {"use_tomorrow": True})
    refused(tiny_llava, plain, "has use_tomorrow true")
    rewrite(plain, {"use_tomorrow": False})
    check(tiny_llava, plain)


def test_layers_that_are_used_twice(tiny_llava, plain):
    """Written by hand: PEFT makes such an adapter for a few classes only."""
    rewrite(plain, {"layer_replication": [[0, 2], [1, 2]]})
    refused(tiny_llava, plain, "has layer_replication")


def test_an_adapter_of_another_model(tiny_llava_qwen2, tiny_qwen2_5_vl, plain):
    refused(tiny_llava_qwen2, plain, "does not fit the model: .* 64 → .* wide")
    refused(tiny_qwen2_5_vl, plain, "does not fit the model")


def test_an_adapter_of_a_deeper_model(tiny_llava, plain):
    tensors = load_file(plain / WEIGHTS)
    more = {name.replace(".layers.1.", ".layers.9."): t.clone() for name, t in tensors.items()}
    save_file(tensors | more, plain / WEIGHTS, metadata={"format": "pt"})
    refused(tiny_llava, plain, r"it has no layer .*layers\.9\.")


def test_weights_that_are_not_those_of_the_configuration(tiny_llava, plain):
    rewrite(plain, {"target_modules": ["k_proj"]})
    refused(tiny_llava, plain, "does not fit the model")


def test_a_rank_that_the_weights_do_not_have(tiny_llava, plain):
    rewrite(plain, {"r": 2})
    refused(tiny_llava, plain, "says r 2, but .* is of rank 4")


def test_half_an_adapter(tiny_llava, plain):
    tensors = load_file(plain / WEIGHTS)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, plain / WEIGHTS, metadata={"format": "pt"})
    refused(tiny_llava, plain, "without its other half")


def test_weights_that_are_not_lora(tiny_llava, plain):
    tensors = load_file(plain / WEIGHTS) | {"base_model.model.lm_head.weight": torch.zeros(2, 2)}
    save_file(tensors, plain / WEIGHTS, metadata={"format": "pt"})
    refused(tiny_llava, plain, "holds base_model.model.lm_head.weight, which is no LoRA weight")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_files_that_are_not_what_they_should_be(name, tiny_llava, plain):
    content = (plain / name).read_bytes()
    (plain / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    refused(tiny_llava, plain, "is a git-lfs pointer")
    (plain / name).write_bytes(content[: len(content) // 2])
    refused(tiny_llava, plain, "cut short|unreadable")
    (plain / name).write_bytes(b"")
    refused(tiny_llava, plain, "is empty")
    (plain / name).unlink()
    refused(tiny_llava, plain, f"holds no {CONFIG} and {WEIGHTS}")


@pytest.mark.parametrize("content", ["[]", '"LORA"', "3"])
def test_a_configuration_that_is_none(content, tiny_llava, plain):
    (plain / CONFIG).write_text(content)
    refused(tiny_llava, plain, "is no configuration of an adapter")


def test_values_of_the_wrong_kind(tiny_llava, plain):
    rewrite(plain, {"lora_alpha": "sixteen"})
    refused(tiny_llava, plain, 'lora_alpha is "sixteen"')


def test_an_adapter_on_an_embedding(base, tiny_llava, tmp_path):
    settings = peft.LoraConfig(**PLAIN | {"target_modules": ["embed_tokens"]})
    refused(tiny_llava, saved(base, tmp_path / "a", settings), "no LoRA weight|not of plain LoRA")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "why"), [("alpha_r", "has alpha_pattern"), ("rank_r", "has rank_pattern")]
)
def test_adapters_of_public_reports(name, why, tiny_llava, plain, shared_data):
    reported = shared_data / "bugs" / "adapter-patterns" / name / CONFIG
    shutil.copyfile(reported, plain / CONFIG)
    refused(tiny_llava, plain, why)


def rewrite(adapter: Path, change: dict) -> None:
    settings = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps(settings | change))
