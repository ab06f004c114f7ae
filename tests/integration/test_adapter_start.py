"""A run that continues an adapter: generators begin with it, and the reference is its start."""

from __future__ import annotations

import math

import pytest
import torch

from medray.config import LoraConfig, ModelConfig
from medray.policy.loading import load_model, resolve_model_path
from medray.policy.tuning import prepare_policy
from tests.running import launch

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """An adapter that says something else than the shipped model."""
    policy = prepare_policy(
        load_model(resolve_model_path("phantom/base"), "bfloat16"),
        ModelConfig(lora=LoraConfig(rank=16, alpha=32.0)),
    )
    rng = torch.Generator().manual_seed(3)
    for name, p in policy.named_parameters():
        if ".lora_B." in name:
            p.data += 0.02 * torch.randn(p.shape, generator=rng)
    path = tmp_path_factory.mktemp("adapter") / "trained"
    policy.save_pretrained(path)
    return path


@pytest.mark.parametrize("sync", ["adapter", "full"])
def test_the_loop_goes_on_from_the_adapter(sync, adapter, tmp_path, quickstart):
    done = launch(
        tmp_path, "configs/quickstart.yaml", f"model.adapter={adapter}", f"loop.sync={sync}",
        "loop.steps=2", "eval.n=64", "eval.every=0", "objective={name: dpo}",
    )  # fmt: skip
    assert done.code == 0, done.err
    first, second = done.metrics()
    assert first["reward_margin"] == pytest.approx(0, abs=1e-3)
    assert first["loss"] == pytest.approx(math.log(2), rel=0.05)
    assert second["reward_margin"] > 0
    assert max(first["logp_gap"], second["logp_gap"]) < 0.05
    shipped = quickstart.evals()[0]["report_exact"]
    assert abs(done.evals()[0]["report_exact"] - shipped) > 0.05, "version 0 is not the adapter"
