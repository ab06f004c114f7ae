"""Starts a vLLM engine for a run."""

from __future__ import annotations

import gc
import os
from typing import Any

from actors import ENGINE_MARK
from actors.generator.receive import keep_freed_memory
from actors.generator.vllm_patches import BACKEND, patch_vllm
from medray.config import Config
from medray.errors import RunFailed
from medray.policy.model.loading import ModelFacts


def start_engine(config: Config, facts: ModelFacts) -> Any:
    """vLLM's `LLM` for the run's model, in this process, whose environment changes for good."""
    os.environ[ENGINE_MARK] = "1"
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_LOGGING_LEVEL="ERROR",
        HF_HUB_OFFLINE="1",
        VLLM_NO_USAGE_STATS="1",
        VLLM_CPU_KVCACHE_SPACE="1",
        THP_MEM_ALLOC_ENABLE="1",  # torch's: weights on a CPU move into new memory at every update
    )
    torch, LLM, WeightTransferConfig = _import_vllm()

    patch_vllm()
    lora = config.model.lora if config.loop.sync == "adapter" else None
    on_gpu = torch.cuda.is_available()
    options: dict[str, Any] = {}
    if not on_gpu:
        keep_freed_memory()
    if lora is not None:
        options |= {"enable_lora": True, "max_lora_rank": _vllm_rank(lora.rank), "max_loras": 1}
        options |= {"enable_tower_connector_lora": set(lora.targets) != {"language"}}
    if on_gpu:
        options |= {"gpu_memory_utilization": config.generator.memory}
        options |= {"enable_sleep_mode": config.generator.colocated}
    return LLM(
        model=str(facts.path),
        dtype=config.model.dtype,
        max_model_len=facts.context,
        tensor_parallel_size=config.generator.tensor_parallel,
        seed=config.run.seed,
        limit_mm_per_prompt={"image": 1},
        enforce_eager=not on_gpu,
        max_num_seqs=64,
        disable_log_stats=True,
        weight_transfer_config=WeightTransferConfig(backend=BACKEND),
        **options,
    )


def _import_vllm() -> tuple[Any, Any, Any]:
    """Without the garbage collector, which would search the thousands of new modules again and
    again: a sixth of the time. They are kept out of its way afterwards too."""
    gc.disable()
    try:
        import torch
        from vllm import LLM
        from vllm.config import WeightTransferConfig
    finally:
        gc.freeze()
        gc.enable()
    return torch, LLM, WeightTransferConfig


def _vllm_rank(rank: int) -> int:
    """The smallest rank that vLLM allocates for and that is large enough."""
    for allowed in (8, 16, 32, 64, 128, 256, 320, 512):
        if rank <= allowed:
            return allowed
    raise RunFailed(f"model.lora.rank = {rank}", "vLLM serves at most 512", "lower it")
