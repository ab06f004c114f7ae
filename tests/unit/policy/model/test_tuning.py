"""Which weights train; the reference is the policy that training started from."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.policy.architectures.llava import Llava
from medray.policy.export.weight_update import export_items
from medray.policy.model.loading import load_model
from medray.policy.model.tuning import frozen_copy, prepare_policy, starting_weights

LORA = LoraConfig(rank=4, alpha=8.0, rank_stabilised=True)


@pytest.fixture(scope="module")
def llava(tiny_llava):
    return load_model(tiny_llava, "float32").eval()


def logits(policy):
    ids = torch.arange(10, 22)[None]
    with torch.no_grad():
        return policy(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def moved(policy, seed=1):
    """Add noise to every trainable weight."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.parameters():
            if p.requires_grad:
                p += 0.1 * torch.randn(p.shape, generator=rng)
    return policy


@pytest.fixture
def adapter(llava, tmp_path):
    """A trained adapter on disk, and the model's logits with it."""
    policy = moved(prepare_policy(copy.deepcopy(llava), ModelConfig(lora=LORA)))
    policy.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", logits(policy)


def continued(llava, path, lora=LORA):
    return prepare_policy(copy.deepcopy(llava), ModelConfig(lora=lora, adapter=str(path)))


def test_an_adapter_is_continued_from_its_weights(llava, adapter):
    path, adapted_logits = adapter
    assert (adapted_logits - logits(llava)).abs().max() > 1e-2
    policy = continued(llava, path)
    torch.testing.assert_close(logits(policy), adapted_logits)
    trained = {n for n, p in policy.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in policy.named_parameters() if ".default." in n}


def test_the_reference_is_the_adapter_that_training_started_from(llava, adapter):
    path, adapted_logits = adapter
    policy = moved(continued(llava, path))
    assert (logits(policy) - adapted_logits).abs().max() > 1e-2
    with starting_weights(policy):
        torch.testing.assert_close(logits(policy), adapted_logits)
    trained = {n for n, p in policy.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in policy.named_parameters() if ".default." in n}


def test_only_the_adapter_that_trains_is_sent(llava, adapter):
    sent = [item.name for item in export_items(continued(llava, adapter[0]), "adapter")]
    fresh = prepare_policy(copy.deepcopy(llava), ModelConfig(lora=LORA))
    assert sent == [item.name for item in export_items(fresh, "adapter")]
    assert len(sent) == len(set(sent))


def test_without_an_adapter_the_reference_is_the_model(llava):
    policy = moved(prepare_policy(copy.deepcopy(llava), ModelConfig(lora=LORA)))
    assert (logits(policy) - logits(llava)).abs().max() > 1e-2
    with starting_weights(policy):
        torch.testing.assert_close(logits(policy), logits(llava))


def test_scaling_is_rank_stabilised(llava):
    policy = prepare_policy(copy.deepcopy(llava), ModelConfig(lora=LORA))
    layer = policy.base_model.model.model.language_model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == pytest.approx(8.0 / 4**0.5)


def test_a_frozen_copy_stays_the_same_when_the_policy_changes(llava):
    policy = prepare_policy(copy.deepcopy(llava), ModelConfig(lora=None, trainable=("language",)))
    reference = frozen_copy(policy)
    moved(policy)
    torch.testing.assert_close(logits(reference), logits(llava))
    assert not any(p.requires_grad for p in reference.parameters())
    shared = {
        name
        for (name, p), q in zip(policy.named_parameters(), reference.parameters(), strict=True)
        if p.data_ptr() == q.data_ptr()
    }
    frozen = {name for name, p in policy.named_parameters() if not p.requires_grad}
    assert shared == frozen


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rank": 8}, "has r 4"),
        ({"alpha": 16.0}, "has lora_alpha 8"),
        ({"rank_stabilised": False}, "has use_rslora True"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(llava, adapter, change, why):
    with pytest.raises(ModelError, match=why):
        continued(llava, adapter[0], LORA.model_copy(update=change))


def test_an_adapter_of_another_model_is_refused(llava, adapter):
    path, _ = adapter
    described = json.loads((path / "adapter_config.json").read_text())
    described["target_modules"] = ".*language_model.*q_proj"
    (path / "adapter_config.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="does not fit the model"):
        continued(llava, path)


def test_a_pickled_adapter_is_refused(llava, adapter):
    path, _ = adapter
    (path / "adapter_model.safetensors").rename(path / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        continued(llava, path)


def test_targets_that_match_nothing_are_refused(llava, monkeypatch):
    monkeypatch.setattr(Llava, "lora_targets", {"language": "no_such_layer"})
    monkeypatch.setattr(Llava, "group_marks", {"language": ("no_such_layer",)})
    with pytest.raises(ModelError, match=r"lora\.targets.*matches no layer"):
        prepare_policy(copy.deepcopy(llava), ModelConfig(lora=LORA))
    with pytest.raises(ModelError, match=r"trainable.*matches no weight"):
        prepare_policy(copy.deepcopy(llava), ModelConfig(lora=None))
