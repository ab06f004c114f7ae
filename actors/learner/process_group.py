"""How the ranks of a learner meet, and what DeepSpeed is configured with."""

from __future__ import annotations

import math
import os
import socket
from datetime import timedelta
from typing import Any

import torch

from actors.learner.deepspeed_internals import skip_shared_memory_op
from medray.config import Config, LearnerConfig

RENDEZVOUS_TIMEOUT = timedelta(minutes=5)


def find_meeting_point() -> tuple[str, int]:
    """Address of this node, as others reach it, and a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect(("192.0.2.1", 9))  # sends nothing: finds the outgoing address
        address = str(route.getsockname()[0])
    with socket.socket() as probe:
        probe.bind((address, 0))
        return address, int(probe.getsockname()[1])


def start_process_group(rank: int, world: int, address: str, port: int) -> torch.device:
    """Join DeepSpeed's process group, gloo on CPUs or NCCL on GPUs; returns the rank's device."""
    gpu = torch.cuda.is_available()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK="0",
        WORLD_SIZE=str(world),
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
    )
    if not gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    if not gpu:
        skip_shared_memory_op(deepspeed)
    deepspeed.init_distributed(
        "nccl" if gpu else "gloo", auto_mpi_discovery=False, timeout=RENDEZVOUS_TIMEOUT
    )
    return torch.device("cuda", 0) if gpu else torch.device("cpu")


def micro_batches(config: Config) -> int:
    """Micro-batches per rank and step, so that a full batch fits."""
    pairs = config.loop.batch * config.generator.responses
    return math.ceil(pairs / (config.learner.world_size * config.learner.micro_batch))


def deepspeed_config(config: Config) -> dict[str, Any]:
    """The engine's settings."""
    return {
        "train_micro_batch_size_per_gpu": config.learner.micro_batch,
        "gradient_accumulation_steps": micro_batches(config),
        "gradient_clipping": config.learner.clip,
        "zero_optimization": _zero(config.learner),
        "bf16": {"enabled": config.model.dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def _zero(learner: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's zero_optimization: the stage, and what is kept in host memory."""
    zero: dict[str, Any] = {"stage": learner.zero_stage}
    if learner.offload in ("optimizer", "all"):
        zero["offload_optimizer"] = {"device": "cpu"}
    if learner.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    return zero
