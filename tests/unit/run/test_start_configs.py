"""The configurations that `medray init` writes for one's own hardware, on look-alikes."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.fleet import placement
from medray.config import load_config
from medray.errors import ConfigError
from medray.plan import Plan, make_plan
from tests.support.datasets.miniatures import iu_xray, slake
from tests.support.paths import ROOT


def plan_of(folder: Path, model: Path, *overrides: str) -> Plan:
    """Of one_gpu.yaml without its `loop.sync`, on a miniature of SLAKE."""
    data = folder / "slake"
    if not data.exists():
        data.mkdir()
        slake(data)
    where = (
        f"model.path={model}",
        "model.max_length=null",
        f"run.output={folder}",
        "loop.sync=auto",
    )
    path = f"data={{kind: slake, path: {data}}}"
    return make_plan(load_config(ROOT / "configs/one_gpu.yaml", [*where, path, *overrides]))


def test_one_gpu_is_accepted_and_shared(tmp_path, tiny_llava):
    (folder := tmp_path / "slake").mkdir()
    overrides = [
        f"model.path={tiny_llava}",
        "model.max_length=null",
        f"data={{kind: slake, path: {slake(folder)}}}",
        f"run.output={tmp_path}",
    ]
    plan = make_plan(load_config(ROOT / "configs/one_gpu.yaml", overrides))
    assert plan.config.generator.colocated
    assert plan.config.loop.sync == "adapter"
    assert plan.lines()


@pytest.mark.parametrize(
    ("overrides", "sync"),
    [
        (["model.lora={rank: 4}"], "adapter"),
        (["model.lora={rank: 4, targets: [language, projector, vision]}"], "adapter"),
        (["model.lora=null", "learner.lr=1e-6"], "full"),
        (["model.lora={rank: 4}", "loop.sync=full"], "full"),
    ],
)
def test_only_what_generators_lack_is_sent(tmp_path, tiny_llava, overrides, sync):
    assert plan_of(tmp_path, tiny_llava, *overrides).config.loop.sync == sync


def test_an_adapter_that_vllm_cannot_apply_is_merged(tmp_path, tiny_qwen3_vl):
    on_towers = "model.lora={rank: 4, targets: [language, vision]}"
    plan = plan_of(tmp_path, tiny_qwen3_vl, on_towers)
    assert plan.config.loop.sync == "full"
    assert plan_of(tmp_path, tiny_qwen3_vl, "model.lora={rank: 4}").config.loop.sync == "adapter"
    with pytest.raises(ConfigError, match="set loop\\.sync=full"):
        plan_of(tmp_path, tiny_qwen3_vl, on_towers, "loop.sync=adapter")


def test_two_views_are_both_shown(tmp_path, tiny_qwen2_5_vl):
    (folder := tmp_path / "iu").mkdir()
    overrides = [
        f"model.path={tiny_qwen2_5_vl}",
        "model.max_length=null",
        f"data.path={iu_xray(folder)}",
        "generator.max_new_tokens=16",
        f"run.output={tmp_path}",
    ]
    plan = make_plan(load_config(ROOT / "configs/two_views.yaml", overrides))
    assert {len(case.images) for case in plan.dataset.train} == {2}
    assert plan.config.model.max_images == 2
    assert ("", "2 of 2 cases have several images, 2 at most") in plan.lines()


@pytest.mark.parametrize(
    ("name", "model", "sync", "gpus"),
    [
        ("two_gpus", "tiny_llava", "adapter", 2),
        ("eight_gpus", "tiny_llava_qwen2", "full", 8),
        ("qwen3_vl", "tiny_qwen3_vl", "adapter", 1),
        ("medgemma", "tiny_gemma3", "adapter", 1),
    ],
)
def test_a_configuration_is_accepted_for_its_model_and_takes_its_gpus(
    name, model, sync, gpus, tmp_path, request, monkeypatch
):
    """The file as it is but for its paths, and the lengths and sizes of a look-alike."""
    monkeypatch.setattr(placement, "is_cpu_build", lambda: False)
    (folder := tmp_path / "slake").mkdir()
    config = load_config(
        ROOT / f"configs/{name}.yaml",
        [
            f"model.path={request.getfixturevalue(model)}",
            "model.max_length=null",
            "generator.max_new_tokens=16",
            f"data={{kind: slake, path: {slake(folder)}}}",
            f"run.output={tmp_path}",
            *(["model.max_pixels=768"] if name == "qwen3_vl" else []),
        ],
    )
    plan = make_plan(config)
    assert plan.config.loop.sync == sync
    assert plan.lines()
    has = {"CPU": 64.0, "GPU": float(gpus)}
    assert placement.plan_placement(plan.config, has).gpus == gpus
