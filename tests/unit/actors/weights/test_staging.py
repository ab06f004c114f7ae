"""Weights on the host: the same values in the same memory, update after update. Without a GPU."""

from __future__ import annotations

import copy

import torch

from actors.weights.staging import Staging, staging_size
from medray.config import LoraConfig, ModelConfig
from medray.policy.export.weight_update import Partitioning, export_items, numel_bytes
from medray.policy.model.loading import load_model, resolve_model_path
from medray.policy.model.tuning import prepare_policy


def test_tensors_have_places_of_their_own_and_keep_them():
    tensors = {
        "a": torch.randn(3, 5, dtype=torch.float32),
        "b": torch.randn(7).bfloat16(),
        "c": torch.randn(()),
    }
    staging = Staging(staging_size([t.nbytes for t in tensors.values()]), pin=False)
    first = {name: staging.to_host(name, tensor) for name, tensor in tensors.items()}
    assert all(torch.equal(first[name], tensor) for name, tensor in tensors.items())
    again = {name: staging.to_host(name, -tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        assert again[name].data_ptr() == first[name].data_ptr()
        assert torch.equal(first[name], -tensor)


def test_what_has_no_room_is_copied_all_the_same():
    staging = Staging(64, pin=False)
    small, large = torch.ones(4), torch.ones(400)
    assert torch.equal(staging.to_host("large", large), large)
    assert torch.equal(staging.to_host("small", small), small)
    assert torch.equal(staging.to_host("small", large), large)  # it has grown


def test_an_update_through_it_is_the_update_without_it():
    """Merged tensors and those that do not change, after a step as well."""
    policy = prepare_policy(
        load_model(resolve_model_path("phantom/base"), "float32"),
        ModelConfig(dtype="float32", lora=LoraConfig(rank=4)),
    )
    sizes = numel_bytes(export_items(policy, "full"), torch.float32)
    staging = Staging(staging_size(sizes), pin=False)
    for _ in range(2):
        plain = {i.name: copy.deepcopy(i.build()) for i in export_items(policy, "full")}
        kept = Partitioning(to_host=staging.to_host)
        staged = {i.name: i.build() for i in export_items(policy, "full", kept)}
        assert plain.keys() == staged.keys()
        assert all(torch.equal(plain[name], staged[name]) for name in plain)
        assert len({tensor.data_ptr() for tensor in staged.values()}) == len(staged)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.5)
