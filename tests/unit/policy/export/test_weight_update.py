"""Weight updates carry the learner's policy to the generators: names, values, transport."""

from __future__ import annotations

import copy
import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import nn

from actors.weights import manifest as weights
from actors.weights.manifest import (
    Manifest,
    TensorSpec,
    describe,
    plan_shards,
    tensors,
    to_array,
    to_tensor,
)
from medray.config import LoraConfig, ModelConfig
from medray.errors import RunFailed
from medray.policy.export.weight_update import (
    ExportItem,
    Partitioning,
    adapter_config,
    export_items,
    numel_bytes,
)
from medray.policy.model.loading import load_model
from medray.policy.model.tuning import prepare_policy

TARGETS = [("language",), ("language", "projector"), ("language", "projector", "vision")]
FUSED = [{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"}]


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def base(request, tiny_llava):
    return load_model(tiny_llava, request.param)


def tuned(base, targets=("language",), *, rank_stabilised=False):
    """A LoRA policy whose adapter is no longer zero."""
    lora = LoraConfig(rank=4, alpha=16.0, rank_stabilised=rank_stabilised, targets=targets)
    policy = prepare_policy(copy.deepcopy(base), ModelConfig(lora=lora))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in policy.named_parameters():
            if ".lora_B." in name:
                p.copy_(0.1 * torch.randn(p.shape, generator=rng))
    return policy


def built(policy, mode):
    items = export_items(policy, mode)
    by_name = {item.name: item.build() for item in items}
    assert len(by_name) == len(items)
    assert all(tuple(by_name[item.name].shape) == item.shape for item in items)
    return by_name


def block(name):
    return name.rsplit(".", 2)[0]


def assert_fused_are_sent_together(names, everything):
    for name in names:
        for group in FUSED:
            projection = name.split(".")[-2]
            if projection in group:
                for other in group:
                    twin = name.replace(f".{projection}.", f".{other}.")
                    assert twin in names or twin not in everything, (name, twin)


@pytest.mark.parametrize("targets", TARGETS, ids=len)
@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_merged_weights_are_those_of_peft(base, targets, rank_stabilised):
    policy = tuned(base, targets, rank_stabilised=rank_stabilised)
    sent = built(policy, "full")
    merged = copy.deepcopy(policy).merge_and_unload().state_dict()
    exact = copy.deepcopy(policy).float().merge_and_unload().state_dict()
    before = base.state_dict()
    assert set(sent) <= set(before)
    for name, tensor in sent.items():
        assert tensor.dtype == before[name].dtype
        if tensor.dtype == torch.float32:
            torch.testing.assert_close(tensor, merged[name], rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(tensor, exact[name].to(torch.bfloat16))  # rounded once
            # PEFT rounds the product, then the sum: half a unit in the last place of each
            tolerance = 2.0**-7 * exact[name].abs() + 2.0**-8 * (exact[name] - before[name]).abs()
            assert bool(((tensor - merged[name]).float().abs() <= tolerance + 1e-9).all())
    unsent = set(before) - set(sent)
    assert all(torch.equal(merged[name], before[name]) for name in unsent)
    changed = {name for name in before if not torch.equal(merged[name], before[name])}
    assert changed
    assert changed <= set(sent)


@pytest.mark.parametrize("targets", TARGETS, ids=len)
def test_lora_sends_complete_blocks_and_no_unchanged_one(base, targets):
    policy = tuned(base, targets)
    sent = set(built(policy, "full"))
    assert_fused_are_sent_together(sent, set(base.state_dict()))
    wrapped = {
        name.removeprefix("base_model.model.").split(".lora_A.")[0] + ".weight"
        for name, _ in policy.named_parameters()
        if ".lora_A." in name
    }
    assert wrapped <= sent
    assert {block(name) for name in sent} == {block(name) for name in wrapped}
    assert not any("lora" in name or "base_layer" in name for name in sent)


@pytest.mark.parametrize(
    ("trainable", "groups"),
    [
        (("language",), {"language_model", "lm_head"}),
        (("projector",), {"multi_modal_projector"}),
        (("vision",), {"vision_tower"}),
        (("language", "vision"), {"language_model", "lm_head", "vision_tower"}),
    ],
)
def test_full_fine_tuning_sends_what_trains(base, trainable, groups):
    policy = prepare_policy(copy.deepcopy(base), ModelConfig(lora=None, trainable=trainable))
    sent = built(policy, "full")
    names = {n for n in base.state_dict() if n.removeprefix("model.").split(".")[0] in groups}
    assert set(sent) == names
    assert all(torch.equal(sent[name], policy.state_dict()[name]) for name in names)


def test_weights_are_sent_without_a_copy_unless_zero_3_releases_them(base):
    policy = prepare_policy(copy.deepcopy(base), ModelConfig(lora=None))
    kept = Partitioning(temporary=True)
    sent = built(policy, "full")
    copied = {item.name: item.build() for item in export_items(policy, "full", kept)}
    with torch.no_grad():
        for p in policy.parameters():
            p.zero_()
    assert sent["lm_head.weight"].data_ptr() == policy.lm_head.weight.data_ptr()
    before = base.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in copied.items())


def test_a_frozen_neighbour_is_sent_with_the_weight_that_trains(base):
    policy = copy.deepcopy(base).requires_grad_(False)
    layer = policy.model.language_model.layers[1]
    layer.self_attn.v_proj.weight.requires_grad_(True)
    layer.mlp.gate_proj.weight.requires_grad_(True)
    assert {n.split("layers.1.")[-1] for n in built(policy, "full")} == {
        *(f"self_attn.{p}_proj.weight" for p in "qkvo"),
        *(f"mlp.{p}_proj.weight" for p in ("gate", "up", "down")),
    }


@pytest.mark.parametrize("targets", TARGETS, ids=len)
@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_peft_loads_the_adapter_that_was_sent(base, targets, rank_stabilised, tmp_path):
    policy = tuned(base, targets, rank_stabilised=rank_stabilised)
    sent = built(policy, "adapter")
    assert all(re.search(r"\.lora_[AB]\.weight$", name) for name in sent)
    save_file(sent, tmp_path / "adapter_model.safetensors")
    adapter = adapter_config(4, 16.0, rank_stabilised)
    layers = {n.removeprefix("base_model.model.").split(".lora_")[0] for n in sent}
    config = adapter | {"target_modules": sorted(layers)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    loaded = PeftModel.from_pretrained(
        copy.deepcopy(base), tmp_path, autocast_adapter_dtype=False
    ).merge_and_unload()
    expected = copy.deepcopy(policy).merge_and_unload().state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_the_order_of_items_is_fixed(base):
    names = [[item.name for item in export_items(tuned(base), "full")] for _ in range(2)]
    assert names[0] == names[1]


# --- transport ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4), (7,)], ids=str)
def test_arrays_are_bit_exact_both_ways(dtype, shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    array = to_array(tensor)
    spec = describe({"w": array}, {"w": tensor.dtype})[0]
    back = to_tensor(array, spec)
    assert (back.dtype, back.shape) == (dtype, tensor.shape)
    assert np.array_equal(to_array(back), array)
    assert torch.equal(back, tensor)


def test_every_bfloat16_is_preserved_nan_included():
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    array = to_array(bits.view(torch.bfloat16))
    assert array.dtype == np.int16
    back = to_tensor(array, TensorSpec("w", (2**16,), "bfloat16", 0))
    assert torch.equal(back.view(torch.int16), bits)


def test_transposed_tensors_and_read_only_arrays_are_received_without_a_copy():
    tensor = torch.arange(6.0, dtype=torch.bfloat16).reshape(2, 3).T
    array = to_array(tensor)
    array.flags.writeable = False
    back = to_tensor(array, describe({"w": array}, {"w": tensor.dtype})[0])
    assert torch.equal(back, tensor)
    assert back.data_ptr() == array.ctypes.data  # nothing was copied


def items_of(*numels):
    return [
        ExportItem(f"w{i}", (n,), (nn.Parameter(torch.zeros(1)),), lambda: torch.zeros(1))
        for i, n in enumerate(numels)
    ]


@pytest.mark.parametrize(
    ("numels", "cut"),
    [
        ((4, 4, 4), [["w0", "w1"], ["w2"]]),
        ((8, 8), [["w0"], ["w1"]]),
        ((1, 20, 1), [["w0"], ["w1"], ["w2"]]),  # a larger tensor has its own shard
        ((20,), [["w0"]]),
        ((3, 3, 2, 8, 1), [["w0", "w1", "w2"], ["w3"], ["w4"]]),
    ],
)
def test_shards_are_bounded(monkeypatch, numels, cut):
    monkeypatch.setattr(weights, "SHARD_BYTES", 16)  # eight bfloat16
    shards = plan_shards(items_of(*numels), torch.bfloat16)
    assert [[item.name for item in shard] for shard in shards] == cut


def test_sizes_are_those_of_the_arrays(base):
    items = export_items(tuned(base), "full")
    assert numel_bytes(items, base.dtype) == [to_array(item.build()).nbytes for item in items]


@pytest.fixture
def update(base):
    """A complete update in several shards, as the learner creates it."""
    items = export_items(tuned(base), "full")
    half = len(items) // 2
    shards, specs = [], []
    for part in (items[:half], items[half:]):
        built_part = {item.name: item.build() for item in part}
        shard = {name: to_array(t) for name, t in built_part.items()}
        shards.append(shard)
        specs.append(describe(shard, {name: t.dtype for name, t in built_part.items()}))
    size = sum(a.nbytes for shard in shards for a in shard.values())
    return Manifest(3, "full", tuple(specs), size), shards, {i.name: i.build() for i in items}


def test_an_update_arrives_unchanged(update):
    manifest, shards, sent = update
    received = dict(tensors(manifest, shards))
    assert list(received) == list(sent)
    assert all(torch.equal(received[name], sent[name]) for name in sent)


def test_a_flipped_bit_is_noticed(update):
    manifest, shards, _ = update
    name, array = next(iter(shards[1].items()))
    raw = bytearray(array.tobytes())
    raw[len(raw) // 2] ^= 1
    shards[1][name] = np.frombuffer(bytes(raw), dtype=array.dtype).reshape(array.shape)
    with pytest.raises(RunFailed, match=f"{re.escape(name)}: checksum differs"):
        dict(tensors(manifest, shards))


def test_missing_tensors_and_shards_are_noticed(update):
    manifest, shards, _ = update
    with pytest.raises(RunFailed, match="1 of 2 shards"):
        dict(tensors(manifest, shards[:1]))
    name = list(shards[0])[-1]
    del shards[0][name]
    with pytest.raises(RunFailed, match=f"{re.escape(name)}: missing"):
        dict(tensors(manifest, shards))


def test_another_shape_is_noticed(update):
    manifest, shards, _ = update
    name = next(n for n, a in shards[0].items() if a.ndim == 2)
    shards[0][name] = shards[0][name].reshape(-1)
    with pytest.raises(RunFailed, match="another shape"):
        dict(tensors(manifest, shards))


def test_swapped_shards_are_noticed(update):
    manifest, shards, _ = update
    with pytest.raises(RunFailed):
        dict(tensors(manifest, shards[::-1]))


def test_records_of_an_update_are_frozen(update):
    with pytest.raises(dataclasses.FrozenInstanceError):
        update[0].version = 4
