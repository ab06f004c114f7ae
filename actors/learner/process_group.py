"""How the ranks of a learner meet, and what DeepSpeed is configured with."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from datetime import timedelta
from typing import Any

import ray
import torch

from actors import ONE_MACHINE
from actors.accelerator import has_gpu
from actors.learner.deepspeed_internals import skip_shared_memory_op
from medray.config import Config, LearnerConfig
from medray.policy.model.schedule import bucket_size, sums_in_float32

_SIOCGIFADDR = 0x8915  # Linux: the address of an interface
MEETING_TIMEOUT = timedelta(minutes=5)
# Ranks wait for each other in every collective, also while one of them reads a model from slow
# storage or writes a checkpoint.
COLLECTIVE_TIMEOUT = timedelta(minutes=30)


def open_meeting_point() -> socket.socket:
    """A socket that listens at the one address at which the ranks reach this node.

    It stays open until the ranks meet there: nobody else takes the port in between, and nobody
    reaches it through another network of the node.
    """
    meeting_point = socket.socket()
    meeting_point.bind((_own_address(), 0))
    meeting_point.listen()
    return meeting_point


def start_process_group(
    rank: int, world: int, address: str, port: int, meeting_point: socket.socket | None
) -> torch.device:
    """Join DeepSpeed's process group, gloo on CPUs or NCCL on GPUs; returns the rank's device.

    `meeting_point`: the socket at `address` and `port`, on rank 0.
    """
    gpu = has_gpu()
    if interface := _interface_of(_own_address()):  # else gloo and NCCL choose one themselves
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, interface)
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
    device, backend = (torch.device("cuda", 0), "nccl") if gpu else (torch.device("cpu"), "gloo")
    if not torch.distributed.is_initialized():  # else this process has been a learner before
        store = torch.distributed.TCPStore(
            address,
            port,
            world,
            is_master=rank == 0,
            timeout=MEETING_TIMEOUT,
            master_listen_fd=None if meeting_point is None else meeting_point.detach(),
        )
        torch.distributed.init_process_group(
            backend,
            store=store,
            rank=rank,
            world_size=world,
            timeout=COLLECTIVE_TIMEOUT,
            device_id=device if gpu and world > 1 else None,
        )
    deepspeed.init_distributed(backend, auto_mpi_discovery=False, timeout=COLLECTIVE_TIMEOUT)
    return device


def _own_address() -> str:
    """At which the other ranks reach this node: all of them may be on it."""
    return "127.0.0.1" if os.environ.get(ONE_MACHINE) else str(ray.util.get_node_ip_address())


def _interface_of(address: str) -> str:
    """The network interface that has an address; "" if none is found."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # it has no address
                reply = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                if socket.inet_ntoa(reply[20:24]) == address:
                    return name
    return ""


def deepspeed_config(config: Config, trained: int) -> dict[str, Any]:
    """The engine's settings. `trained`: parameters that are."""
    sums = {"data_types": {"grad_accum_dtype": "fp32"}} if sums_in_float32(config) else {}
    return sums | {
        "train_micro_batch_size_per_gpu": config.learner.micro_batch,
        "gradient_clipping": config.learner.clip,
        "zero_optimization": _zero(config.learner) | {"reduce_bucket_size": bucket_size(trained)},
        "bf16": {"enabled": config.model.dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def reference_config(config: Config) -> dict[str, Any]:
    """Settings of an engine without an optimiser, which shards a model that does not train."""
    own = deepspeed_config(config, 1)
    zero = {name: value for name, value in _zero(config.learner).items() if "optimizer" not in name}
    return own | {"zero_optimization": zero}


def _zero(learner: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's zero_optimization: the stage, and what is kept in host memory."""
    zero: dict[str, Any] = {"stage": learner.zero_stage}
    if learner.offload in ("optimizer", "all"):
        zero["offload_optimizer"] = {"device": "cpu"}
    if learner.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    return zero
