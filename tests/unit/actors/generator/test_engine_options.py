"""What vLLM is started with, on CPUs and on GPUs, without starting it."""

from __future__ import annotations

import pytest

from actors import accelerator
from actors.generator import engine as module
from actors.generator.engine import engine_environment, engine_options, start_engine
from medray.config import load_config
from medray.errors import ResourceError
from medray.policy.model.loading import model_facts
from tests.support.paths import ROOT


def options(*overrides, gpu):
    config = load_config(ROOT / "configs/quickstart.yaml", list(overrides))
    return engine_options(config, model_facts(config.model), gpu=gpu)


def test_on_a_gpu_no_kernel_is_compiled_with_a_toolkit():
    assert engine_environment(gpu=True)["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


def test_variables_of_cpus_stay_on_cpus():
    assert "VLLM_CPU_KVCACHE_SPACE" in engine_environment(gpu=False)
    assert "VLLM_CPU_KVCACHE_SPACE" not in engine_environment(gpu=True)


def test_memory_and_sleep_are_of_gpus():
    shared = "generator.colocated=true"
    found = options(shared, "generator.memory=0.5", gpu=True)
    assert (found["gpu_memory_utilization"], found["enable_sleep_mode"]) == (0.5, True)
    assert options(gpu=True)["enable_sleep_mode"] is False
    assert not {"gpu_memory_utilization", "enable_sleep_mode"} & options(shared, gpu=False).keys()


def test_graphs_are_captured_on_gpus_only():
    assert [options(gpu=gpu)["enforce_eager"] for gpu in (True, False)] == [False, True]


def test_no_memory_is_kept_for_videos():
    assert options(gpu=True)["limit_mm_per_prompt"] == {"image": 1, "video": 0}


@pytest.mark.parametrize(
    ("overrides", "gpu", "expected"),
    [((), True, 256), ((), False, 64), (("generator.max_num_seqs=8",), True, 8)],
)
def test_how_many_sequences_are_decoded_together(overrides, gpu, expected):
    assert options(*overrides, gpu=gpu)["max_num_seqs"] == expected


def test_the_batch_and_the_context_are_as_configured():
    assert "max_num_batched_tokens" not in options(gpu=True)
    context = options(gpu=True)["max_model_len"]
    tokens, shorter = (
        "generator.max_num_batched_tokens=4096",
        f"generator.max_model_len={context - 8}",
    )
    found = options(tokens, shorter, gpu=True)
    assert (found["max_num_batched_tokens"], found["max_model_len"]) == (4096, context - 8)


def test_nothing_is_compiled_on_cpus():
    assert engine_environment(gpu=False)["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in engine_environment(gpu=True)


def test_adapters_have_room_if_they_are_sent():
    assert "enable_lora" not in options("loop.sync=full", gpu=True)
    assert options("loop.sync=adapter", gpu=True)["max_lora_rank"] == 16


class CpuPlatform:
    def is_cuda(self):
        return False


def test_a_build_for_cpus_is_named_on_a_gpu(monkeypatch):
    config = load_config(ROOT / "configs/quickstart.yaml")
    monkeypatch.setattr(module, "has_gpu", lambda: True)
    monkeypatch.setattr(module.os, "environ", {})
    monkeypatch.setattr(module, "import_vllm", lambda: (None, None, CpuPlatform()))
    with pytest.raises(ResourceError, match=r"on a GPU: is a build for CPUs — .*STACK=gpu"):
        start_engine(config, model_facts(config.model), {})


def test_a_build_for_gpus_is_named_on_cpus(monkeypatch):
    config = load_config(ROOT / "configs/quickstart.yaml")
    monkeypatch.setattr(module, "has_gpu", lambda: False)
    monkeypatch.setattr(accelerator, "is_cpu_build", lambda: False)
    with pytest.raises(ResourceError, match=r"on CPUs: is a build for GPUs.*STACK=cpu"):
        start_engine(config, model_facts(config.model), {})


def test_an_adapter_of_the_language_model_does_not_wrap_the_head():
    """vLLM wraps every linear layer it may; with Qwen3-VL's head, prompts cannot be scored."""
    found = options("loop.sync=adapter", gpu=False)
    assert "lm_head" not in found["lora_target_modules"]
    assert {"q_proj", "down_proj"} <= set(found["lora_target_modules"])
    towers = options("loop.sync=adapter", "model.lora={targets: [language, vision]}", gpu=False)
    assert "lora_target_modules" not in towers
