"""A trained policy as files: transformers and PEFT load from them what was trained."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from peft import PeftModel

from medray.config import LoraConfig, ModelConfig
from medray.errors import MedrayError
from medray.policy.export.model_folder import write_adapter, write_merged
from medray.policy.export.weight_update import export_items
from medray.policy.model.loading import load_model, model_facts
from medray.policy.model.tuning import prepare_policy

METADATA = {"run": "r", "step": 3}
LORA = LoraConfig(rank=4, alpha=8.0, rank_stabilised=True, targets=("language", "projector"))


@pytest.fixture(scope="module", params=["tiny_llava", "tiny_qwen2_5_vl"])
def base(request):
    return request.getfixturevalue(request.param)


def trained(base, config):
    """A policy whose trainable weights have moved."""
    policy = prepare_policy(load_model(base, "float32"), config).eval()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in policy.parameters():
            if p.requires_grad:
                p += 0.05 * torch.randn(p.shape, generator=rng)
    return policy


def sent(policy, mode):
    return {item.name: item.build() for item in export_items(policy, mode)}


def logits(model):
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


@pytest.mark.parametrize("mode", ["adapter", "full"])
def test_a_merged_model_has_the_logits_of_the_policy(base, mode, tmp_path):
    config = ModelConfig(path=str(base), dtype="float32", lora=LORA)
    policy = trained(base, config)
    write_merged(config, "float32", mode, sent(policy, mode), tmp_path / "out", METADATA)
    model = load_model(tmp_path / "out", "float32").eval()
    torch.testing.assert_close(logits(model), logits(policy), rtol=1e-4, atol=1e-4)
    assert (logits(model) - logits(load_model(base, "float32"))).abs().max() > 1e-2
    model_facts(ModelConfig(path=str(tmp_path / "out")))  # medray itself accepts it
    assert json.loads((tmp_path / "out" / "medray.json").read_text()) == METADATA
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()


def test_full_fine_tuning_writes_the_weights_bit_for_bit(base, tmp_path):
    config = ModelConfig(path=str(base), dtype="float32", lora=None, trainable=("language",))
    policy = trained(base, config)
    write_merged(config, "float32", "full", sent(policy, "full"), tmp_path / "out", METADATA)
    model = load_model(tmp_path / "out", "float32")
    for name, tensor in policy.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_peft_loads_the_adapter(base, tmp_path):
    config = ModelConfig(path=str(base), dtype="float32", lora=LORA)
    policy = trained(base, config)
    write_adapter(config, sent(policy, "adapter"), tmp_path / "out", METADATA)
    model = PeftModel.from_pretrained(load_model(base, "float32"), str(tmp_path / "out")).eval()
    torch.testing.assert_close(logits(model), logits(policy))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "medray.json",
    }


def test_an_adapter_can_be_continued_by_medray(base, tmp_path):
    config = ModelConfig(path=str(base), dtype="float32", lora=LORA)
    policy = trained(base, config)
    write_adapter(config, sent(policy, "adapter"), tmp_path / "out", METADATA)
    again = config.model_copy(update={"adapter": str(tmp_path / "out")})
    continued = prepare_policy(load_model(base, "float32"), again).eval()
    torch.testing.assert_close(logits(continued), logits(policy))


def test_nothing_is_written_if_something_is_wrong(base, tmp_path):
    config = ModelConfig(path=str(base), dtype="float32", lora=LORA)
    weights = sent(trained(base, config), "adapter")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    unknown = copy.copy(weights) | {"base_model.model.other.lora_A.weight": torch.zeros(1)}
    for mode, tensors, out in (
        ("adapter", weights, "taken"),
        ("adapter", unknown, "out"),
        ("full", {"no.such.weight": torch.zeros(1)}, "out"),
    ):
        with pytest.raises(MedrayError):
            write_merged(config, "float32", mode, tensors, tmp_path / out, METADATA)
    full = config.model_copy(update={"lora": None})
    with pytest.raises(MedrayError, match="trained full weights"):
        write_adapter(full, weights, tmp_path / "out", METADATA)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["taken"]
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["file"]
