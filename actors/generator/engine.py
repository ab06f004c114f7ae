"""Starts a vLLM engine for a run."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from typing import Any

from actors import ENGINE_MARK
from actors.accelerator import has_gpu, require_kernels
from actors.generator.receive import keep_freed_memory
from actors.generator.vllm_patches import BACKEND, DECODED_TOGETHER, inspect_here, patch_vllm
from medray.config import MOST_SEQUENCES, Config
from medray.errors import ResourceError, RunFailed
from medray.policy.architectures.base import ATTENTION_AND_MLP
from medray.policy.model.loading import ModelFacts, answer_context

# Sequences that are decoded together, if generator.max_num_seqs does not say.
SEQUENCES_ON_CPU, SEQUENCES_ON_GPU = DECODED_TOGETHER, MOST_SEQUENCES


def start_engine(config: Config, facts: ModelFacts, pixel_limits: Mapping[str, int]) -> Any:
    """vLLM's `LLM` for the run's model, in this process, whose environment changes for good.

    `pixel_limits`: of a codec, so that the engine makes the same of images as the learner.
    Raises ResourceError if this build of vLLM is not for the device that Ray gave the process, or
    cannot be loaded there.
    """
    gpu = has_gpu()
    if not gpu:
        require_kernels()
    os.environ.update(engine_environment(gpu=gpu))
    LLM, WeightTransferConfig, platform = import_vllm()
    if gpu and not platform.is_cuda():
        raise ResourceError(
            "this vLLM, on a GPU",
            "is a build for CPUs",
            "install the other stack: make install STACK=gpu",
        )
    patch_vllm()
    inspect_here(facts.architecture.name)
    if facts.architecture.image_sees_itself and not gpu:
        why = "vLLM on a CPU lets image tokens see only those before them"
        raise RunFailed(f"a generator of {facts.architecture.name}", why, "use GPUs")
    if not gpu:
        keep_freed_memory()
    transfer = WeightTransferConfig(backend=BACKEND)
    options = engine_options(config, facts, gpu=gpu)
    if pixel_limits:
        options["mm_processor_kwargs"] = dict(pixel_limits)
    return LLM(weight_transfer_config=transfer, **options)


def engine_environment(*, gpu: bool) -> dict[str, str]:
    """Variables that vLLM reads when it is imported or starts."""
    variables = {
        ENGINE_MARK: "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if gpu:
        # FlashInfer would compile its sampler, with a CUDA toolkit that most nodes do not have.
        # Requests with seeds of their own never use it.
        return variables | {"VLLM_USE_FLASHINFER_SAMPLER": "0"}
    # torch's THP_…: weights on a CPU move into new memory at every update. What little vLLM would
    # compile there takes longer to compile than it ever saves.
    variables |= {"VLLM_CPU_KVCACHE_SPACE": "1", "THP_MEM_ALLOC_ENABLE": "1"}
    return variables | {"TORCHDYNAMO_DISABLE": "1"}


def engine_options(config: Config, facts: ModelFacts, *, gpu: bool) -> dict[str, Any]:
    """Arguments of vLLM's `LLM`."""
    generator, lora = config.generator, config.model.lora
    sequences = SEQUENCES_ON_GPU if gpu else SEQUENCES_ON_CPU
    options: dict[str, Any] = {
        "model": str(facts.path),
        "dtype": config.model.dtype,
        "max_model_len": answer_context(config.generator, facts),
        "tensor_parallel_size": generator.tensor_parallel,
        "seed": config.run.seed,
        # Without a limit for videos, memory is measured, and kept free, for the longest of them.
        "limit_mm_per_prompt": {"image": config.model.max_images or 1, "video": 0},
        "enforce_eager": not gpu,
        "max_num_seqs": generator.max_num_seqs or sequences,
        "disable_log_stats": True,
    }
    if generator.max_num_batched_tokens is not None:
        options |= {"max_num_batched_tokens": generator.max_num_batched_tokens}
    if lora is not None and config.loop.sync == "adapter":
        options |= {"enable_lora": True, "max_lora_rank": _vllm_rank(lora.rank), "max_loras": 1}
        options |= {"enable_tower_connector_lora": set(lora.targets) != {"language"}}
        if set(lora.targets) == {"language"}:
            # Not the head, which vLLM would wrap too: scoring prompts of Qwen3-VL then fails.
            options |= {"lora_target_modules": ATTENTION_AND_MLP.split("|")}
    if gpu:
        options |= {"gpu_memory_utilization": generator.memory}
        options |= {"enable_sleep_mode": generator.colocated}
    return options


def import_vllm() -> tuple[Any, Any, Any]:
    """vLLM's `LLM` and `WeightTransferConfig`, and its platform.

    Without the garbage collector, which would search the thousands of new modules again and again:
    a sixth of the time. They are kept out of its way afterwards too.
    """
    gc.disable()
    try:
        from vllm import LLM
        from vllm.config import WeightTransferConfig
        from vllm.platforms import current_platform
    finally:
        gc.freeze()
        gc.enable()
    return LLM, WeightTransferConfig, current_platform


def _vllm_rank(rank: int) -> int:
    """The smallest rank that vLLM allocates for and that is large enough."""
    for allowed in (8, 16, 32, 64, 128, 256, 320, 512):
        if rank <= allowed:
            return allowed
    raise RunFailed(f"model.lora.rank = {rank}", "vLLM serves at most 512", "lower it")
