"""A run that continues an adapter: generators begin with it, and the reference is its start."""

from __future__ import annotations

import math

import pytest

from medray.config import LoraConfig
from tests.support.models.adapters import save_adapter
from tests.support.processes.running import launch

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    path = tmp_path_factory.mktemp("adapter") / "trained"
    return save_adapter(path, "bfloat16", LoraConfig(rank=16, alpha=32.0), scale=0.02)


@pytest.mark.parametrize("sync", ["adapter", pytest.param("full", marks=pytest.mark.chaos)])
def test_the_loop_goes_on_from_the_adapter(sync, adapter, tmp_path, quickstart):
    done = launch(
        tmp_path,
        "configs/quickstart.yaml",
        f"model.adapter={adapter}",
        f"loop.sync={sync}",
        "loop.steps=2",
        "eval.n=64",
        "eval.every=0",
        "objective={name: dpo}",
    )
    assert done.code == 0, done.err
    first, second = done.metrics()
    assert first["reward_margin"] == pytest.approx(0, abs=1e-3)
    assert first["loss"] == pytest.approx(math.log(2), rel=0.05)
    assert second["reward_margin"] > 0
    assert max(first["logp_gap"], second["logp_gap"]) < 0.05
    shipped = quickstart.evals()[0]["report_exact"]
    assert abs(done.evals()[0]["report_exact"] - shipped) > 0.05, "version 0 is not the adapter"
